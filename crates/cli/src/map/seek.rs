//! Where a view goes by itself: to the next page that would be refused, to a name, to an address.

use super::ink::{By, Ink};
use super::rows::{pages_of, title};
use super::view::{Step, View};
use super::words;
use std::ops::Range;

impl View<'_> {
    /// To the beginning of the next stretch of pages that would be refused.
    pub(super) fn refused(&mut self, step: Step) {
        if self.picture.ask.is_none() {
            self.tell("nobody pins: start with --as CONSUMER to see what is refused");
            return;
        }
        let now = (self.row, self.cell);
        let places = (0..self.rows.len()).filter_map(|row| Some((row, self.group(row)?)));
        let stops = places.flat_map(|(row, group)| {
            self.stretches(group).into_iter().map(move |page| (row, page))
        });
        let stops: Vec<(usize, u64)> =
            stops.map(|(row, page)| (row, self.cell_of(row, page))).collect();
        let next = match step {
            Step::On => stops.iter().find(|stop| **stop > now).or(stops.first()),
            Step::Back => stops.iter().rfind(|stop| **stop < now).or(stops.last()),
        };
        match next.copied() {
            Some((row, cell)) => self.stand(row, cell),
            None => self.tell("no page would be refused"),
        }
    }

    /// Where stretches with refused pages begin in a group, in pages.
    fn stretches(&self, group: &Range<usize>) -> Vec<u64> {
        let mut found = Vec::new();
        let (mut page, mut before) = (0, false);
        for region in &self.picture.regions[group.clone()] {
            for run in &region.runs {
                let kinds = run.parts.iter().filter_map(|part| region.kinds.get(part.0 as usize));
                let here = kinds.map(|kind| Ink::of(Some(kind), By::Verdict));
                let here = here.into_iter().any(|ink| ink == Ink::Refused);
                if here && !before {
                    found.push(page);
                }
                (page, before) = (page + run.pages, here);
            }
        }
        found
    }

    pub(super) fn search(&mut self, step: Step) {
        let sought = self.sought.to_lowercase();
        if sought.is_empty() {
            return;
        }
        if let Some((row, page)) = self.address(&sought) {
            self.go(row, page);
            return;
        }
        let matches = |row: &usize| {
            self.group(*row).is_some_and(|group| {
                let (label, perms) = title(self.picture, group);
                let name = &self.picture.regions[group.start].place.area.name;
                format!("{label} {name} {perms}").to_lowercase().contains(&sought)
            })
        };
        let rows = 0..self.rows.len();
        let found = match step {
            Step::On => (self.row + 1..rows.end).chain(0..=self.row).find(matches),
            Step::Back => (0..self.row).rev().chain((self.row..rows.end).rev()).find(matches),
        };
        match found {
            Some(row) => self.go(row, 0),
            None => self.tell(format!("nothing is called {}", words::clean(&self.sought))),
        }
    }

    /// The row and page of an address in hexadecimal.
    fn address(&self, text: &str) -> Option<(usize, u64)> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let addr = u64::from_str_radix(digits, 16).ok().filter(|_| digits.len() >= 4)?;
        let region = self.picture.regions.iter().position(|r| r.place.area.contains(addr))?;
        let row = (0..self.rows.len())
            .find(|&row| self.group(row).is_some_and(|group| group.contains(&region)))?;
        let group = self.group(row)?;
        let before = pages_of(self.picture, &(group.start..region));
        let area = &self.picture.regions[region].place.area;
        Some((row, before + ((addr - area.start) >> 12)))
    }
}
