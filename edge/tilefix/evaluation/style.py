"""Style and script of the report: plain CSS and a little JavaScript, inlined so that the page needs nothing else."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #14181f; --soft: #5a6472; --faint: #dfe3e8; --hair: #eceff2;
  --fix: #1f6fd1; --coast: #d98a00; --none: #aab2bd; --false: #d6336c; --sigma: #8592a3; --good: #1a7f4b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1216; --card: #181c22; --ink: #e8ebf0; --soft: #98a2b0; --faint: #313842; --hair: #242a32;
    --fix: #5aa2f5; --coast: #f2ae3a; --none: #5d6773; --false: #ff6f9f; --sigma: #7d8998; --good: #4cc38a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1160px; margin: 0 auto; padding: 36px 20px 64px; }
header h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
header p { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 24px 0 0; }
.tile, section { background: var(--card); border: 1px solid var(--faint); border-radius: 10px; }
.tile { padding: 12px 16px 14px; }
.tile b { display: block; font-size: 26px; line-height: 1.2; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.tile.bad b { color: var(--false); }
.tile.good b { color: var(--good); }
section { margin-top: 16px; padding: 18px 20px 20px; }
section h2 { font-size: 16px; margin: 0 0 10px; }
section p.note { margin: 10px 0 0; color: var(--soft); font-size: 13px; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--soft); }
.scroll { overflow-x: auto; } svg.timed { min-width: 640px; }
.map { border-radius: 6px; overflow: hidden; background: var(--hair); }
.map text { fill: #fff; font-weight: 600; paint-order: stroke; stroke: rgba(0,0,0,.65); stroke-width: 3px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 10px 0 0; font-size: 13px; color: var(--soft); }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 50%; margin-right: 6px;
  vertical-align: -1px; }
.legend i.line { height: 3px; border-radius: 2px; width: 18px; vertical-align: 3px; }
.legend i.ring { background: none; border: 2px solid; }
.grid { stroke: var(--hair); } .axis { stroke: var(--faint); } .limit { stroke: var(--false); stroke-dasharray: 4 4; }
.event { stroke: var(--ink); stroke-dasharray: 2 3; } svg text.event-name { fill: var(--ink); font-weight: 600; }
.sigma { fill: none; stroke: var(--sigma); stroke-width: 1.5; }
.fix { fill: var(--fix); } .coast { fill: var(--coast); } .none { fill: var(--none); }
.wrong { fill: none; stroke: var(--false); stroke-width: 2.5; }
.bg-fix { background: var(--fix); } .bg-coast { background: var(--coast); } .bg-none { background: var(--none); }
.cursor { stroke: var(--ink); stroke-width: 1; visibility: hidden; }
.here { fill: none; stroke: #fff; stroke-width: 3; visibility: hidden; filter: drop-shadow(0 0 2px #000); }
.map .track { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.map .fix { fill: #2f8bff; stroke: #fff; stroke-width: .8; } .map .coast { fill: #ffb224; stroke: #fff;
  stroke-width: .8; }
.map .ellipse { fill: none; stroke: #7fc0ff; stroke-width: 1; opacity: .8; }
.map .ellipse.of-coast { stroke: #ffd27a; }
.map .miss { stroke: #ff5c93; stroke-width: 1.4; }
.map .wrong { stroke: #ff2f74; }
.scrub { display: grid; grid-template-columns: 1fr auto; gap: 14px; align-items: center; margin-top: 12px; }
.scrub input { width: 100%; accent-color: var(--fix); }
.scrub output { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--soft); }
.two { display: grid; grid-template-columns: 1fr; gap: 16px; margin-top: 16px; }
.two section { margin: 0; }
@media (min-width: 860px) { .two { grid-template-columns: 1fr 1fr; } }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 0; border-bottom: 1px solid var(--hair); font-weight: 400; }
tr:last-child > * { border-bottom: 0; }
th { color: var(--soft); padding-right: 16px; } td { text-align: right; overflow-wrap: anywhere; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: 8px 12px; align-items: center;
  font-size: 14px; }
.bars div { height: 10px; border-radius: 5px; background: var(--none); }
.bars small { grid-column: 1 / -1; margin-top: -8px; color: var(--soft); font-size: 12.5px; }
details summary { cursor: pointer; font-weight: 600; }
details table { margin-top: 10px; font-size: 13px; }
@media print { .scrub { display: none; } section { break-inside: avoid; } }
"""

SCRIPT = """
const rows = JSON.parse(document.getElementById('rows').textContent);
const slider = document.querySelector('.scrub input');
const said = document.querySelector('.scrub output');
const here = document.querySelector('.here');
const cursors = document.querySelectorAll('.cursor');
function show(k) {
  const [text, x, y, at] = rows[k];
  slider.value = k;
  said.textContent = text;
  here.style.visibility = x === null ? 'hidden' : 'visible';
  if (x !== null) { here.setAttribute('cx', x); here.setAttribute('cy', y); }
  cursors.forEach(c => { c.setAttribute('x1', at); c.setAttribute('x2', at); c.style.visibility = 'visible'; });
}
slider.addEventListener('input', () => show(+slider.value));
document.querySelectorAll('svg.timed').forEach(svg => svg.addEventListener('mousemove', event => {
  const box = svg.getBoundingClientRect();
  const at = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
  let best = 0;
  rows.forEach((row, k) => { if (Math.abs(row[3] - at) < Math.abs(rows[best][3] - at)) best = k; });
  show(best);
}));
const map = document.querySelector('svg.map');
map.addEventListener('mousemove', event => {
  const box = map.getBoundingClientRect();
  const scale = map.viewBox.baseVal.width / box.width;
  const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
  let best = -1, least = 400;
  rows.forEach((row, k) => {
    if (row[1] === null) return;
    const d = (row[1] - x) ** 2 + (row[2] - y) ** 2;
    if (d < least) { least = d; best = k; }
  });
  if (best >= 0) show(best);
});
"""
