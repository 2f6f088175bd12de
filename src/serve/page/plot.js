// Lines over time, drawn in SVG.
const NS = 'http://www.w3.org/2000/svg', W = 480, H = 160, LEFT = 44, BOTTOM = 22, TOP = 10;

function svg(tag, props, ...children) {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(props)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// 1, 2 or 5 times a power of ten, at least v.
function roundUp(v) {
  const power = 10 ** Math.floor(Math.log10(Math.max(v, 1)));
  return power * [1, 2, 5, 10].find(f => f * power >= v);
}

// values: one per step, oldest first; label: what a reader hears.
export function plot(values, stepSeconds, kind, label) {
  const top = roundUp(Math.max(1, ...values)), x = i => LEFT + (W - LEFT) * i / (values.length - 1), y = v => TOP + (H - TOP - BOTTOM) * (1 - v / top);
  const out = svg('svg', { viewBox: `0 0 ${W} ${H}`, role: 'img', 'aria-label': label, class: `plot ${kind}` });
  for (const part of [0, 0.5, 1]) {
    out.append(svg('line', { x1: LEFT, x2: W, y1: y(part * top), y2: y(part * top), class: 'grid-line' }),
      svg('text', { x: LEFT - 8, y: y(part * top) + 4, 'text-anchor': 'end' }, String(part * top)));
  }
  const minutes = Math.round(values.length * stepSeconds / 60);
  out.append(svg('text', { x: LEFT, y: H - 4 }, `${minutes} minutes ago`), svg('text', { x: W, y: H - 4, 'text-anchor': 'end' }, 'now'));
  const points = values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(' ');
  out.append(svg('polygon', { points: `${LEFT},${y(0)} ${points} ${W},${y(0)}`, class: 'area' }), svg('polyline', { points, class: 'line' }));
  return out;
}
