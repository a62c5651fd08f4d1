'use strict';
// Draws the picture in #data: rows of cells on one canvas, of which only what is seen is drawn.
const data = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
const root = document.documentElement;
const PAGE = 4096, ROW = 18, LINE = 16, HIGH = 13, GAP = 16, TOP = 10;
const WIDTHS = [4, 5, 6, 8, 10, 12, 12, 12, 12, 12, 12, 12, 12, 12];
const MONO = "12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
const state = {by: data.by, zoom: 0, only: null, hover: null, kept: null, found: [], nth: -1};

// ---- what was read
const areas = data.areas;
for (const area of areas) {
  area.ends = [];
  let pages = 0;
  for (const run of area.r) area.ends.push(pages += run[0]);
}
const inkOf = (area, kind) => kind < 0 ? data.unread[state.by] : area.k[kind][state.by];
const weight = ink => data.inks[ink].weight;
const address = page => '0x' + (BigInt(page) * 4096n).toString(16);
const percent = part => part >= .995 ? '100 %' : part < .01 ? '< 1 %' : Math.round(part * 100) + ' %';
function size(pages) {
  const units = ['K', 'M', 'G', 'T', 'P', 'E'];
  let n = pages * 4, unit = 0;
  while (n >= 1024 && unit < 5) { n /= 1024; unit++; }
  n = Math.floor(n * 10) / 10;
  return (n < 10 && n % 1 ? n.toFixed(1) : Math.floor(n)) + units[unit];
}
function totals() {
  const sums = new Map();
  for (const area of areas) {
    for (const kind of area.k) sums.set(kind[state.by], (sums.get(kind[state.by]) || 0) + kind.n);
    for (const run of area.r) if (run.length === 1) {
      const ink = data.unread[state.by];
      sums.set(ink, (sums.get(ink) || 0) + run[0]);
    }
  }
  return [...sums].sort((a, b) => a[0] - b[0]);
}

// ---- cells of an area: page numbers cut at i * n / count
const cut = (area, count, i) => count === area.n ? i : Math.floor(area.n * (i / count));
function cellAt(area, count, i) {
  const from = cut(area, count, i), to = Math.max(cut(area, count, i + 1), from + 1);
  let low = 0, high = area.ends.length;
  while (low < high) { const mid = low + high >> 1; if (area.ends[mid] <= from) low = mid + 1; else high = mid; }
  const parts = new Map();
  let at = from;
  for (; low < area.r.length && at < to; low++) {
    const run = area.r[low], here = Math.min(area.ends[low], to) - at;
    if (run.length === 1) parts.set(-1, (parts.get(-1) || 0) + here);
    for (let k = 1; k < run.length; k += 2) {
      const share = run[k + 1] * here / run[0];
      parts.set(run[k], (parts.get(run[k]) || 0) + share);
    }
    at += here;
  }
  return {from, to, parts};
}
function inksOf(area, parts) {
  const inks = new Map();
  for (const [kind, pages] of parts) {
    const ink = inkOf(area, kind);
    inks.set(ink, (inks.get(ink) || 0) + pages);
  }
  return [...inks].sort((a, b) => weight(b[0]) - weight(a[0]) || b[1] - a[1]);
}

// ---- layout
let rows = [], height = 0, perLine = 100, labels = 336, cellWidth = 4;
function layout() {
  const width = $('scroll').clientWidth;
  labels = width < 640 ? 180 : 336;
  cellWidth = WIDTHS[state.zoom];
  perLine = Math.max(8, Math.floor((width - labels - 16) / cellWidth));
  const most = areas.reduce((most, area) => Math.max(most, area.n), 4096);
  const base = Math.max(8, Math.floor((width - labels - 16) / WIDTHS[0]));
  const slope = (base - 8) / Math.log2(most / 8);
  const more = 4 ** state.zoom;
  rows = [];
  let y = TOP, end = 0;
  areas.forEach((area, i) => {
    if (area.s > end) { rows.push({y, gap: area.s - end, h: GAP}); y += GAP; }
    const cells = area.n <= 8 ? area.n : 8 + slope * Math.log2(area.n / 8);
    const count = Math.max(1, Math.min(area.n, Math.round(cells * more)));
    const lines = Math.ceil(count / perLine);
    const h = ROW + (lines - 1) * LINE;
    rows.push({y, area, index: i, count, lines, h});
    area.row = rows.length - 1;
    y += h;
    end = area.s + area.n;
  });
  height = y + TOP;
  $('tall').style.height = height + 'px';
}
const canZoom = () => state.zoom < WIDTHS.length - 1 && height < 4e6 &&
  rows.some(row => row.area && row.count < row.area.n);
function rowAt(y) {
  let low = 0, high = rows.length;
  while (low < high) { const mid = low + high >> 1; if (rows[mid].y + rows[mid].h <= y) low = mid + 1; else high = mid; }
  return low;
}

// ---- drawing
const dark = () => root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme:dark)').matches;
const colour = ink => dark() ? data.inks[ink].dark : data.inks[ink].light;
let hatch = null;
function fit(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  canvas.style.width = width + 'px'; canvas.style.height = height + 'px';
  const to = canvas.getContext('2d');
  to.setTransform(ratio, 0, 0, ratio, 0, 0);
  return to;
}
function makeHatch(to) {
  const tile = document.createElement('canvas');
  tile.width = tile.height = 6;
  const on = tile.getContext('2d');
  on.strokeStyle = dark() ? 'rgba(0,0,0,.55)' : 'rgba(255,255,255,.75)';
  on.lineWidth = 2;
  on.beginPath();
  for (const d of [-6, 0, 6]) { on.moveTo(d - 1, 7); on.lineTo(d + 7, -1); }
  on.stroke();
  return to.createPattern(tile, 'repeat');
}
function clip(to, text, room) {
  if (to.measureText(text).width <= room) return text;
  while (text && to.measureText(text + '…').width > room) text = text.slice(0, -1);
  return text + '…';
}
function drawCell(to, inks, total, x, y, w) {
  let bottom = HIGH;
  inks.forEach(([ink, pages], i) => {
    const least = weight(ink) ? 2 : 0;
    const h = i === inks.length - 1 ? bottom : Math.min(bottom, Math.max(least, HIGH * pages / total));
    bottom -= h;
    if (h <= 0) return;
    to.globalAlpha = state.only === null || state.only === ink ? 1 : .13;
    to.fillStyle = colour(ink);
    to.fillRect(x, y + bottom, w, h);
    if (data.inks[ink].hatched && w > 2) { to.fillStyle = hatch; to.fillRect(x, y + bottom, w, h); }
  });
  to.globalAlpha = 1;
}
function draw() {
  const scroll = $('scroll'), width = scroll.clientWidth, high = Math.min(scroll.clientHeight, Math.max(height, 40));
  const to = fit($('picture'), width, high), style = getComputedStyle(root);
  const text = style.getPropertyValue('--text'), soft = style.getPropertyValue('--soft'), line = style.getPropertyValue('--line');
  const top = scroll.scrollTop, shown = state.kept || state.hover;
  hatch = makeHatch(to);
  to.font = MONO;
  to.textBaseline = 'middle';
  let cells = 0;
  for (let r = rowAt(top); r < rows.length && rows[r].y < top + high; r++) {
    const row = rows[r], y = row.y - top;
    if (row.gap) {
      to.fillStyle = soft; to.textAlign = 'right';
      to.fillText(size(row.gap), labels - 142, y + GAP / 2 - 1);
      to.strokeStyle = line; to.setLineDash([2, 3]); to.beginPath();
      to.moveTo(labels - 130, Math.round(y + GAP / 2) - .5); to.lineTo(width - 16, Math.round(y + GAP / 2) - .5);
      to.stroke(); to.setLineDash([]);
      continue;
    }
    const {area, count} = row, middle = y + 7, found = state.found.includes(area);
    to.textAlign = 'left';
    if (labels > 200) { to.fillStyle = soft; to.fillText(address(area.s).slice(2).padStart(12, '0') + ' ' + area.p, 12, middle); }
    to.textAlign = 'right'; to.fillStyle = text; to.fillText(size(area.n), labels - 142, middle);
    to.textAlign = 'left';
    if (found) { to.fillStyle = style.getPropertyValue('--mark'); to.fillRect(labels - 136, y - 1, 2, 14); }
    to.fillStyle = text;
    to.fillText(clip(to, area.label, 126), labels - 131, middle);
    const first = Math.max(0, Math.floor((top - row.y) / LINE)), last = Math.min(row.lines, Math.ceil((top + high - row.y) / LINE) + 1);
    const gap = cellWidth >= 8 ? 1 : 0;
    for (let i = first * perLine; i < Math.min(count, last * perLine); i++) {
      const cell = cellAt(area, count, i), x = labels + i % perLine * cellWidth, cy = y + Math.floor(i / perLine) * LINE;
      drawCell(to, inksOf(area, cell.parts), cell.to - cell.from, x, cy, cellWidth - gap);
      cells++;
      if (shown && shown.area === area && shown.i === i && shown.count === count) {
        to.strokeStyle = text; to.lineWidth = state.kept ? 2 : 1;
        to.strokeRect(x - .5, cy - 1.5, cellWidth + 1, HIGH + 3); to.lineWidth = 1;
      }
    }
  }
  root.dataset.cells = cells;
  overview();
}
let ribbon = null;
function overview() {
  const canvas = $('overview'), width = canvas.clientWidth, high = 34;
  const to = fit(canvas, width, high);
  const wide = area => Math.log2(area.n + 1) + 1;
  const gaps = rows.filter(row => row.gap).length;
  const space = gaps ? Math.min(6, width * .25 / gaps) : 0;
  const unit = (width - space * gaps) / areas.reduce((sum, area) => sum + wide(area), 0);
  ribbon = [];
  let x = 0;
  for (const row of rows) {
    if (row.gap) { x += space; continue; }
    const {area} = row, w = wide(area) * unit, all = new Map();
    area.k.forEach((kind, k) => all.set(k, kind.n));
    if (!area.k.length) all.set(-1, area.n);
    const inks = inksOf(area, all);
    let bottom = 26;
    inks.forEach(([ink, pages], i) => {
      const h = i === inks.length - 1 ? bottom : Math.min(bottom, Math.max(weight(ink) ? 4 : 0, 26 * pages / area.n));
      bottom -= h;
      to.globalAlpha = state.only === null || state.only === ink ? 1 : .13;
      to.fillStyle = colour(ink);
      to.fillRect(x, 4 + bottom, Math.max(w - (w > 3 ? 1 : 0), .5), h);
    });
    to.globalAlpha = 1;
    ribbon.push({x, w, row});
    x += w;
  }
  const scroll = $('scroll'), top = scroll.scrollTop, low = top + scroll.clientHeight;
  const seen = ribbon.filter(({row}) => row.y + row.h > top && row.y < low);
  if (seen.length && height > scroll.clientHeight) {
    const a = seen[0], b = seen[seen.length - 1];
    to.strokeStyle = getComputedStyle(root).getPropertyValue('--text');
    to.lineWidth = 1.5;
    to.strokeRect(a.x + .75, 1.25, Math.max(b.x + b.w - a.x - 1.5, 3), 31.5);
  }
}

// ---- legend, title, details
function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}
function swatch(ink) {
  const made = element('span', '', 'swatch' + (data.inks[ink].hatched ? ' hatched' : ''));
  made.style.backgroundColor = colour(ink);
  return made;
}
function legend() {
  $('legend').replaceChildren(...totals().map(([ink, pages]) => {
    const button = element('button');
    button.type = 'button';
    button.setAttribute('aria-pressed', state.only === ink);
    button.append(swatch(ink), element('b', size(pages)), element('span', data.inks[ink].line));
    button.onclick = () => { state.only = state.only === ink ? null : ink; refresh(); };
    return button;
  }));
}
function head() {
  $('title').textContent = data.comm + ' (' + data.pid + ')';
  document.title = data.comm + ' (' + data.pid + ') · gup map';
  const refused = data.refused, facts = $('facts');
  facts.replaceChildren('Linux ' + data.kernel + ', ' + size(areas.reduce((sum, area) => sum + area.n, 0)) + ' in ' +
    areas.length + (areas.length === 1 ? ' area' : ' areas'));
  if (data.as) facts.append(' · ', element('b', data.as), refused ? ': ' + size(refused) + ' would be refused' : ': no page would be refused');
  if (data.raced) facts.append(' · its areas changed while they were read');
  $('by').hidden = !data.as;
  $('refused').hidden = !data.as;
  $('refused').disabled = !refused;
}
function detail() {
  const panel = $('detail'), at = state.kept || state.hover;
  if (!at) {
    panel.replaceChildren(element('p', 'Point at a cell, or move with the arrow keys.', 'soft'), ...summary());
    return;
  }
  const {area} = at, cell = cellAt(area, at.count, at.i), pages = cell.to - cell.from, start = area.s + cell.from;
  const list = element('ul');
  for (const [kind, count] of [...cell.parts].sort((a, b) => b[1] - a[1])) {
    const item = element('li'), said = element('div'), known = kind < 0 ? null : area.k[kind];
    said.append(element('b', pages === 1 ? '' : size(Math.max(1, Math.round(count))) + ' '), known ? data.words[known.t] : 'not looked at');
    if (known && data.words[known.r]) said.append(element('p', 'instead: ' + data.words[known.r], 'soft'));
    item.append(swatch(inkOf(area, kind)), said);
    list.append(item);
  }
  const nodes = [
    element('h2', area.label),
    element('p', area.name && area.name !== area.label ? area.name : '', 'soft'),
    element('p', address(area.s) + '–' + address(area.s + area.n).slice(2) + ' ' + area.p + ' ' + size(area.n), 'mono'),
    element('p', area.f ? 'flags: ' + area.f : '', 'soft mono'),
    element('h2', pages === 1 ? 'page ' + address(start) : 'pages ' + address(start) + ' to ' + address(start + pages - 1)),
    element('p', (pages === 1 ? '1 page' : pages + ' pages, ' + size(pages)) + (state.kept ? ' · kept; Esc lets go' : ''), 'soft'),
    list,
  ];
  nodes[4].style.marginTop = '14px';
  if (data.as) {
    nodes.push(element('p', 'ask about these pages:', 'soft'));
    nodes.push(element('pre', 'gup explain --pid ' + data.pid + ' ' + address(start) + ' ' + Math.min(pages, 4194304) + 'p ' + data.flag));
  }
  panel.replaceChildren(...nodes.filter(node => node.textContent || node.tagName === 'UL'));
}
function summary() {
  if (!data.as || !data.why.length) return [];
  const list = element('ul');
  for (const [words, pages, remedy] of data.why) {
    const item = element('li'), said = element('div');
    said.append(element('b', size(pages) + ' '), words);
    if (remedy) said.append(element('p', 'instead: ' + remedy, 'soft'));
    item.append(swatch(data.refusedInk), said);
    list.append(item);
  }
  const title = element('h2', 'What ' + data.as + ' would be refused');
  title.style.marginTop = '12px';
  return [title, list];
}

// ---- going places
function goTo(area, page) {
  const row = rows[area.row], i = Math.min(row.count - 1, Math.floor(page / area.n * row.count));
  let cell = Math.max(0, i);
  while (cell + 1 < row.count && cut(area, row.count, cell + 1) <= page) cell++;
  while (cell > 0 && cut(area, row.count, cell) > page) cell--;
  state.kept = {area, i: cell, count: row.count};
  const y = row.y + Math.floor(cell / perLine) * LINE, scroll = $('scroll');
  if (y < scroll.scrollTop + 20 || y > scroll.scrollTop + scroll.clientHeight - 40) scroll.scrollTop = y - scroll.clientHeight / 3;
  draw(); detail();
}
const pageOf = at => at ? cut(at.area, at.count, at.i) : 0;
function rezoom(step) {
  const next = state.zoom + step;
  if (next < 0 || (step > 0 && !canZoom())) return;
  const at = state.kept, row = rows[rowAt($('scroll').scrollTop)], page = pageOf(at);
  state.zoom = next; state.hover = null;
  layout();
  if (at) { state.kept = null; goTo(at.area, page); } else if (row && row.area) $('scroll').scrollTop = rows[row.area.row].y - TOP;
  refresh();
}
function search(text) {
  const wanted = text.trim().toLowerCase();
  state.found = []; state.nth = -1;
  const hex = /^(0x)?[0-9a-f]{4,16}$/.test(wanted) ? BigInt('0x' + wanted.replace(/^0x/, '')) : null;
  if (hex !== null) {
    const page = Number(hex / 4096n), area = areas.find(area => area.s <= page && page < area.s + area.n);
    if (area) { state.found = [area]; state.nth = 0; goTo(area, page - area.s); told(); return; }
  }
  if (wanted) state.found = areas.filter(area => (area.label + ' ' + area.name + ' ' + area.p).toLowerCase().includes(wanted));
  if (state.found.length) next(1); else draw();
  told();
}
function next(step) {
  if (!state.found.length) return;
  state.nth = (state.nth + step + state.found.length) % state.found.length;
  goTo(state.found[state.nth], 0);
  told();
}
const told = () => $('found').textContent = !$('find').value ? '' : state.found.length ? state.nth + 1 + ' of ' + state.found.length : 'nothing';
function refused(step) {
  if (!data.as) return;
  const is = (area, kind) => kind >= 0 && area.k[kind].verdict === data.refusedInk;
  const at = state.kept, count = areas.length;
  const stops = [];
  areas.forEach(area => {
    let page = 0, was = false;
    for (const run of area.r) {
      let here = false;
      for (let k = 1; k < run.length; k += 2) here = here || is(area, run[k]);
      if (here && !was) stops.push([area, page]);
      was = here; page += run[0];
    }
  });
  if (!stops.length || !count) return;
  const now = at ? at.area.s + pageOf(at) : -1, place = ([area, page]) => area.s + page;
  const to = step > 0 ? stops.find(stop => place(stop) >= now + (at ? at.area === stop[0] && pageOf(at) <= stop[1] && stop[1] < cut(at.area, at.count, at.i + 1) ? 1e18 : 1 : 0))
    || stops[0] : stops.filter(stop => place(stop) < now).pop() || stops[stops.length - 1];
  goTo(...to);
}
function move(dx, dy) {
  const at = state.kept || state.hover || (rows.find(row => row.area) && {area: areas[0], i: -dx, count: rows[areas[0].row].count});
  if (!at) return;
  let {area} = at, i = at.i + dx;
  if (dy) {
    const lines = rows[area.row].lines, line = Math.floor(at.i / perLine) + dy;
    if (line < 0 || line >= lines) {
      const index = rows[area.row].index + dy;
      if (!areas[index]) return;
      area = areas[index];
      i = Math.min(rows[area.row].count - 1, at.i % perLine + (dy < 0 ? (rows[area.row].lines - 1) * perLine : 0));
    } else i = Math.min(rows[area.row].count - 1, at.i + dy * perLine);
  } else if (i < 0 || i >= at.count) {
    const index = rows[area.row].index + dx;
    if (!areas[index]) return;
    area = areas[index];
    i = dx > 0 ? 0 : rows[area.row].count - 1;
  }
  goTo(area, cut(area, rows[area.row].count, i));
}
function cellUnder(event) {
  const box = $('picture').getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top + $('scroll').scrollTop;
  const row = rows[rowAt(y)];
  if (!row || !row.area || y < row.y) return null;
  const line = Math.min(row.lines - 1, Math.floor((y - row.y) / LINE)), column = x < labels ? 0 : Math.floor((x - labels) / cellWidth);
  if (column >= perLine) return null;
  const i = line * perLine + column;
  return {area: row.area, i: Math.min(i, row.count - 1), count: row.count};
}
function refresh() {
  for (const button of $('by').children) button.setAttribute('aria-pressed', button.dataset.by === state.by);
  $('out').disabled = state.zoom === 0;
  $('in').disabled = !canZoom();
  legend(); draw(); detail();
}
function recolour(by) {
  if (by === 'verdict' && !data.as) return;
  state.by = by; state.only = null; refresh();
}
function theme() { root.dataset.theme = dark() ? 'light' : 'dark'; refresh(); }

// ---- events
$('picture').onmousemove = event => {
  const at = cellUnder(event), was = state.hover;
  if ((at && at.area) === (was && was.area) && (at && at.i) === (was && was.i)) return;
  state.hover = at;
  draw();
  if (!state.kept) detail();
};
$('picture').onmouseleave = () => { state.hover = null; draw(); if (!state.kept) detail(); };
$('picture').onclick = event => {
  const at = cellUnder(event), kept = state.kept;
  state.kept = at && !(kept && kept.area === at.area && kept.i === at.i) ? at : null;
  draw(); detail();
};
$('picture').onwheel = event => { if (event.ctrlKey) { event.preventDefault(); rezoom(event.deltaY < 0 ? 1 : -1); } };
$('overview').onclick = event => {
  const x = event.clientX - $('overview').getBoundingClientRect().left, at = ribbon.find(({x: left, w}) => x < left + w) || ribbon[ribbon.length - 1];
  if (at) goTo(at.row.area, 0);
};
$('scroll').onscroll = draw;
$('find').oninput = event => search(event.target.value);
$('find').onkeydown = event => {
  if (event.key === 'Enter') next(event.shiftKey ? -1 : 1);
  if (event.key === 'Escape') { event.target.value = ''; search(''); $('picture').focus(); }
  event.stopPropagation();
};
for (const button of $('by').children) button.onclick = () => recolour(button.dataset.by);
$('in').onclick = () => rezoom(1);
$('out').onclick = () => rezoom(-1);
$('refused').onclick = () => refused(1);
$('theme').onclick = theme;
$('help').onclick = () => $('keys').showModal();
const keys = {
  ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
  Enter: () => { state.kept = state.kept || state.hover; draw(); detail(); },
  Escape: () => { state.kept = null; state.only = null; refresh(); },
  '+': () => rezoom(1), '=': () => rezoom(1), '-': () => rezoom(-1), '/': () => $('find').focus(),
  n: () => next(1), N: () => next(-1), r: () => refused(1), R: () => refused(-1), t: theme, '?': () => $('keys').showModal(),
  c: () => recolour(state.by === 'state' ? 'verdict' : 'state'),
  Home: () => goTo(areas[0], 0), End: () => goTo(areas[areas.length - 1], areas[areas.length - 1].n - 1),
};
document.onkeydown = event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $('keys').open) return;
  const key = keys[event.key];
  if (key && areas.length) { event.preventDefault(); key(); }
};
onresize = () => { layout(); state.hover = null; if (state.kept) { const {area} = state.kept, page = pageOf(state.kept); goTo(area, page); } refresh(); };
matchMedia('(prefers-color-scheme:dark)').onchange = refresh;

// ---- begin; the address may say where: #by=state&zoom=2&find=heap&theme=dark&refused
const asked = new URLSearchParams(location.hash.slice(1));
if (asked.get('theme')) root.dataset.theme = asked.get('theme');
if (asked.get('by') === 'state' || (asked.get('by') === 'verdict' && data.as)) state.by = asked.get('by');
state.zoom = Math.max(0, Math.min(WIDTHS.length - 1, Number(asked.get('zoom')) || 0));
head(); layout(); refresh();
if (asked.get('find')) { $('find').value = asked.get('find'); search(asked.get('find')); }
if (asked.has('refused')) refused(1);
root.dataset.areas = areas.length;
root.dataset.ready = 'yes';
