//! Lines that expect something of pages, asked of the running kernel as far as it shows.

use super::kernel::{Kernel, cannot};
use crate::scenario::{Counted, Op, Place, Value, areas_fit, fits};
use crate::sys::PAGE;
use crate::world::Token;
use crate::world::token::Classes;

/// Plays a line of expectation.
pub(crate) fn expect(kernel: &Kernel<'_>, op: &Op) -> Result<Value, Value> {
    match op {
        Op::ExpectState { process, at, pages, tokens } => {
            let start = kernel.addr(process, at)? & !(PAGE - 1);
            let window = kernel.window(process, (start, *pages), &mut Classes::default())?;
            let is: Vec<String> =
                window.pages.iter().map(|token| token.without_class().to_string()).collect();
            let lazy = |c: char| matches!(c, 'd' | 'L');
            let fits = |want: &String, is: &String| fits(&want.replace(lazy, ""), is);
            let all = tokens.iter().zip(&is).all(|(want, is)| fits(want, is));
            let is = format!("expected {}, it is {}", tokens.join(" "), is.join(" "));
            Ok(if all { Value::Holds } else { Value::DoesNotHold(is) })
        }
        Op::ExpectAreas { process, at, pages, areas } => {
            let range = (kernel.addr(process, at)? & !(PAGE - 1), *pages);
            Ok(areas_fit(areas, &kernel.areas(process, range)?, range))
        }
        Op::ExpectSame { left, right } => same(kernel, left, right, true),
        Op::ExpectOther { left, right } => same(kernel, left, right, false),
        Op::ExpectCount { place, counted: Counted::Mapcount, value } => {
            let is = u64::from(token(kernel, place, &mut Classes::default())?.mapcount);
            let no = format!("expected {value}, it is {is}");
            Ok(if is == *value { Value::Holds } else { Value::DoesNotHold(no) })
        }
        _ => Err(cannot("the kernel shows no references and pins of a page")),
    }
}

fn same(kernel: &Kernel<'_>, left: &Place, right: &Place, same: bool) -> Result<Value, Value> {
    let mut classes = Classes::default();
    let (left, right) = (token(kernel, left, &mut classes)?, token(kernel, right, &mut classes)?);
    Ok(match (left.class, right.class) {
        (Some(left), Some(right)) if (left == right) == same => Value::Holds,
        (Some(left), Some(right)) => {
            let word = if left == right { "the same page" } else { "not the same page" };
            Value::DoesNotHold(word.to_owned())
        }
        _ => Value::DoesNotHold("nothing is mapped there".to_owned()),
    })
}

fn token(kernel: &Kernel<'_>, place: &Place, classes: &mut Classes) -> Result<Token, Value> {
    let Place::Mapped { process, at } = place else {
        return Err(cannot("the kernel shows no pinned pages"));
    };
    let start = kernel.addr(process, at)? & !(PAGE - 1);
    let window = kernel.window(process, (start, 1), classes)?;
    Ok(window.pages.first().copied().unwrap_or_default())
}
