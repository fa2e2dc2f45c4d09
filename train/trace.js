// Draws what a training step holds from the document that the page carries (docs/trace.md), as SVG:
// one figure a method, all on the same scales.
"use strict";
(function () {
  // Colours of Okabe and Ito, as in chart_style.js: of blocks in turn, of parts of the step, and of
  // categories. Beside blocks all that is not saved is grey.
  const palette = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#F0E442"];
  const partColors = { forward: "#56B4E9", backward: "#D55E00", update: "#8c8c8c" };
  const ofCategory = {
    parameters: "#8c8c8c", optimizer: "#CC79A7", projectors: "#009E73",
    saved: "#0072B2", gradients: "#E69F00", workspace: "#56B4E9",
  };
  const grey = {
    parameters: "#6b6b6b", optimizer: "#858585", projectors: "#9d9d9d", gradients: "#555", workspace: "#bdbdbd",
  };
  const size = { width: 640, left: 74, right: 10, top: 16, chart: 300, gap: 36, bars: 90, bottom: 34 };
  const height = size.top + size.chart + size.gap + size.bars + size.bottom;

  const escape = (text) => String(text).replace(/[&<>"']/g, (c) => "&#" + c.charCodeAt(0) + ";");
  function scaled(value, base, prefixes, unit) {
    let i = 0;
    for (; Math.abs(value) >= 999.5 && i + 1 < prefixes.length; ++i) value /= base;
    const digits = i === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    return value.toFixed(digits) + " " + prefixes[i] + unit;
  }
  const bytes = (v) => scaled(v, 1024, ["", "Ki", "Mi", "Gi", "Ti"], "B");
  const flops = (v) => scaled(v, 1000, ["", "k", "M", "G", "T", "P"], "FLOP");
  const ms = (v) => (v * 1000).toFixed(v < 0.01 ? 3 : 1) + " ms";

  // A layer's block: "blocks.0" of "blocks.0.attn.q".
  const blockOf = (layer) => {
    const parts = layer.split(".");
    const number = parts.findIndex((part) => /^\d+$/.test(part));
    return number < 0 ? parts[0] : parts.slice(0, number + 1).join(".");
  };

  // Where moments lie: over calls every call is as wide, over time as wide as it takes.
  function positions(method, over) {
    if (over === "time") return method.moments.seconds.map((s) => s * 1000);
    const at = new Array(method.moments.seconds.length).fill(0);
    let next = 0;
    for (const [number, call] of method.calls.entries()) {
      for (; next < call.begin; ++next) at[next] = number;
      for (; next <= call.end; ++next)
        at[next] = number + (next - call.begin) / Math.max(1, call.end - call.begin);
    }
    return at.fill(method.calls.length, next);
  }

  // What is drawn, from below: [{label, detail, color, from, heights}], a height for each interval
  // from `from` on. Interval k lies between the moments k - 1 and k; what is held in it is what is
  // held at state[k], one of the two.
  function bandsOf(method, by, colorOf) {
    const { peak, state } = method.moments;
    const whole = (category) => ({
      label: category, detail: "", color: (by === "owner" ? grey : ofCategory)[category],
      from: 1, heights: peak[category].slice(1),  // a copy
    });
    const order = ["parameters", "optimizer", "projectors", "saved", "gradients", "workspace"];
    const bands = by === "category" ? order.map(whole) : order.flatMap((category) => {
      const rest = whole(category);  // of what no value accounts for
      const values = method.held.filter((value) => value.category === category).map((value) => {
        const interval = (moment) => {
          const k = state.findIndex((s) => s >= moment);
          return k < 0 ? state.length : Math.max(1, k);
        };
        const first = interval(value.from), last = interval(value.until);
        for (let k = first; k < last; ++k) rest.heights[k - 1] -= value.bytes;
        return {
          label: (value.layer + " " + value.slot).trim(), detail: value.shape,
          color: category === "saved" ? colorOf(value.layer) : grey[category],
          from: first, heights: new Array(Math.max(0, last - first)).fill(value.bytes),
        };
      });
      return [...values, rest];
    });
    return bands.filter((band) => band.heights.some((h) => h > 0));
  }

  // Puts each band on those below: band.base[i] belongs to band.heights[i].
  function stack(bands, count) {
    const level = new Float64Array(count);
    for (const band of bands) {
      band.base = band.heights.map((h, i) => {
        const base = level[band.from + i];
        level[band.from + i] += h;
        return base;
      });
    }
    return level;
  }

  // The outline of a band: along its tops, and back along its bases.
  function outline(band, x, y) {
    const n = band.heights.length, up = [], down = [];
    for (let i = 0; i < n; ++i) {
      const left = x(band.from + i - 1), right = x(band.from + i);
      const top = y(band.base[i] + band.heights[i]), low = y(band.base[i]);
      const same = i > 0 && band.heights[i] === band.heights[i - 1] && band.base[i] === band.base[i - 1];
      if (same) { up.pop(); down.pop(); } else { up.push([left, top]); down.push([left, low]); }
      up.push([right, top]); down.push([right, low]);
    }
    const points = up.concat(down.reverse());
    return "M" + points.map(([a, b]) => a.toFixed(1) + " " + b.toFixed(1)).join("L") + "Z";
  }

  // Round numbers up to `most`; `base` 1024 for bytes.
  function ticks(most, base) {
    let unit = 1;
    while (base > 1 && most / unit >= base) unit *= base;
    let step = Math.pow(10, Math.floor(Math.log10(most / unit / 4)));
    for (const factor of [1, 2, 5, 10]) if (most / unit / (step * factor) <= 5) { step *= factor; break; }
    const all = [];
    for (let v = 0; v <= most / unit + 1e-9; v += step) all.push(v * unit);
    return all;
  }

  function axes(view, scale) {
    const right = size.width - size.right, foot = size.top + size.chart;
    let out = "";
    for (const v of ticks(scale.bytes, 1024))
      out += `<line class="grid" x1="${size.left}" x2="${right}" y1="${scale.y(v)}" y2="${scale.y(v)}"/>` +
        `<text x="${size.left - 5}" y="${scale.y(v) + 4}" text-anchor="end">${bytes(v)}</text>`;
    for (const v of ticks(scale.across, 1))
      out += `<text x="${scale.x(v)}" y="${height - 14}" text-anchor="middle">${+v.toPrecision(6)}</text>`;
    const word = view.over === "time" ? "milliseconds" : "calls";
    out += `<text x="${(size.left + right) / 2}" y="${height - 1}" text-anchor="middle">${word}</text>`;
    const most = view.bars === "flops" ? flops(scale.bars) : ms(scale.bars);
    const low = foot + size.gap + size.bars;
    return out + `<line class="grid" x1="${size.left}" x2="${right}" y1="${low}" y2="${low}"/>` +
      `<text x="${size.left - 5}" y="${foot + size.gap + 8}" text-anchor="end">${most}</text>` +
      `<text x="${size.left + 4}" y="${foot + size.gap - 4}">${view.bars === "flops" ? "FLOPs" : "time"} of each call</text>`;
  }

  const amount = (call, view) => view.bars === "flops" ? call.flops : call.seconds;

  function bars(method, at, view, scale) {
    const low = size.top + size.chart + size.gap + size.bars;
    return method.calls.map((call) => {
      const tall = size.bars * amount(call, view) / scale.bars;
      const left = scale.x(at[call.begin]), wide = Math.max(0.5, scale.x(at[call.end]) - left);
      return `<rect x="${left.toFixed(1)}" y="${(low - tall).toFixed(1)}" width="${wide.toFixed(1)}" ` +
        `height="${tall.toFixed(1)}" fill="${partColors[call.part]}"/>`;
    }).join("");
  }

  // Where forward ends and backward begins.
  function turn(method, at, scale) {
    const x = scale.x(at[method.after_forward]), foot = size.top + size.chart;
    return `<line class="turn" x1="${x}" x2="${x}" y1="${size.top}" y2="${foot + size.gap + size.bars}"/>` +
      `<text x="${x - 5}" y="${foot + 14}" text-anchor="end">forward</text>` +
      `<text x="${x + 5}" y="${foot + 14}">backward</text>`;
  }

  function peakMark(method, at, scale) {
    const y = scale.y(method.peak.bytes), k = method.peak.moment;
    const x = scale.x((at[Math.max(0, k - 1)] + at[k]) / 2);
    const left = x > size.width * 0.6;
    return `<line class="mark" x1="${size.left}" x2="${size.width - size.right}" y1="${y}" y2="${y}"/>` +
      `<circle class="marked" cx="${x}" cy="${y}" r="4"/>` +
      `<text class="marked" x="${left ? x - 7 : x + 7}" y="${Math.max(11, y - 5)}" ` +
      `text-anchor="${left ? "end" : "start"}">peak ${bytes(method.peak.bytes)}</text>`;
  }

  // The scales that all methods share.
  function scalesOf(methods, view) {
    const ends = methods.map((m) => Math.max(...positions(m, view.over)));
    const across = Math.max(...ends) || 1;
    const most = Math.max(...methods.map((m) => m.peak.bytes)) * 1.06 || 1;
    const highest = Math.max(...methods.flatMap((m) => m.calls.map((c) => amount(c, view)))) || 1;
    const wide = size.width - size.left - size.right;
    return {
      across, bytes: most, bars: highest,
      x: (v) => size.left + wide * v / across,
      y: (v) => size.top + size.chart * (1 - v / most),
    };
  }

  function colors(methods) {
    const saved = methods.flatMap((m) => m.held.filter((v) => v.category === "saved"));
    const blocks = [...new Set(saved.map((v) => blockOf(v.layer)))];
    return { blocks, of: (layer) => palette[blocks.indexOf(blockOf(layer)) % palette.length] };
  }

  // One method's drawing, and what is needed to say what lies under the pointer.
  function drawing(method, view, scale, colorOf) {
    const at = positions(method, view.over);
    const bands = bandsOf(method, view.by, colorOf);
    stack(bands, at.length);
    const x = (k) => scale.x(at[k]);
    // Edges would hide bands that are thinner than some pixels.
    const edged = (band) => scale.y(0) - scale.y(Math.max(...band.heights)) > 3 ? "edged" : "";
    const paths = bands.map((band, i) =>
      `<path class="${edged(band)}" data-band="${i}" fill="${band.color}" d="${outline(band, x, scale.y)}"/>`).join("");
    const svg = `<svg viewBox="0 0 ${size.width} ${height}" role="img" aria-label="bytes held over the step by ` +
      `${escape(method.method)}">${axes(view, scale)}${paths}${bars(method, at, view, scale)}` +
      `${turn(method, at, scale)}${peakMark(method, at, scale)}<line class="cursor" y1="${size.top}" y2="${height - size.bottom}" ` +
      `x1="-9" x2="-9"/></svg>`;
    return { svg, at, bands };
  }

  // The interval under a position, and the band there.
  function under(drawn, across, value) {
    let k = drawn.at.findIndex((v, i) => i > 0 && v >= across && v > drawn.at[i - 1]);
    if (k < 0) k = drawn.at.length - 1;
    const band = drawn.bands.find(({ from, base, heights }) => {
      const i = k - from;
      return i >= 0 && i < heights.length && value >= base[i] && value < base[i] + heights[i];
    });
    return { k, band };
  }

  function sentence(method, { k, band }) {
    const call = method.calls.find((c) => c.begin < k && k <= c.end);
    const held = Object.values(method.moments.peak).reduce((sum, of) => sum + of[k], 0);
    let out = call
      ? `<b>${escape(call.layer)}</b>, ${call.part}: ${flops(call.flops)}, ${ms(call.seconds)}`
      : "between calls";
    out += `<br>${bytes(held)} held`;
    if (!band) return out;
    const height = band.heights[k - band.from];
    return out + `<br><b>${escape(band.label)}</b> ${escape(band.detail)} ${bytes(height)}` +
      `, ${(100 * height / held).toFixed(1)} % of it`;
  }

  const drawings = { scalesOf, colors, drawing, under, sentence };
  if (typeof document === "undefined") { module.exports = drawings; return; }

  const methods = JSON.parse(document.getElementById("data").textContent).methods;
  const view = { by: "owner", over: "calls", bars: "flops" };
  const choices = [
    ["by", "held", [["owner", "by owner"], ["category", "by category"]]],
    ["over", "across", [["calls", "calls"], ["time", "time"]]],
    ["bars", "below", [["flops", "FLOPs"], ["time", "milliseconds"]]],
  ];
  document.getElementById("tools").innerHTML = choices.map(([name, title, words]) =>
    `<fieldset><legend>${title}:</legend>` + words.map(([value, word]) =>
      `<label><input type="radio" name="${name}" value="${value}"${view[name] === value ? " checked" : ""}> ` +
      `${word}</label>`).join("") + "</fieldset>").join("");
  document.getElementById("tools").addEventListener("change", (event) => {
    view[event.target.name] = event.target.value;
    show();
  });

  function legend(drawn, palette) {
    const key = (color, word) => `<span class="key"><i style="background:${color}"></i>${escape(word)}</span>`;
    const colors = view.by === "owner" ? grey : ofCategory;
    const wholes = Object.keys(colors).map((category) => key(colors[category], category));
    const blocks = view.by === "owner" ? palette.blocks.map((b) => key(palette.of(b), b)) : [];
    return wholes.concat(blocks, key(partColors.forward, "forward"), key(partColors.backward, "backward")).join("");
  }

  function follow(figure, method, drawn, scale) {
    const svg = figure.querySelector("svg"), said = figure.querySelector(".said");
    const cursor = figure.querySelector(".cursor");
    let lit = null;
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const px = (event.clientX - box.left) * size.width / box.width;
      const py = (event.clientY - box.top) * height / box.height;
      const across = (px - size.left) / (size.width - size.left - size.right) * scale.across;
      const value = (1 - (py - size.top) / size.chart) * scale.bytes;
      if (across < 0) return;
      const found = under(drawn, across, value);
      said.innerHTML = sentence(method, found);
      cursor.setAttribute("x1", px); cursor.setAttribute("x2", px);
      if (lit) lit.classList.remove("lit");
      lit = found.band ? svg.querySelector(`[data-band="${drawn.bands.indexOf(found.band)}"]`) : null;
      if (lit) lit.classList.add("lit");
    });
  }

  function show() {
    const scale = scalesOf(methods, view), palette = colors(methods);
    const charts = document.getElementById("charts");
    charts.replaceChildren();
    for (const method of methods) {
      const drawn = drawing(method, view, scale, palette.of);
      const figure = document.createElement("figure");
      figure.innerHTML = `<h2>${escape(method.method)}</h2>${drawn.svg}<p class="said">` +
        `Move over the chart to see who holds what.</p><figcaption>${legend(drawn, palette)}</figcaption>`;
      charts.append(figure);
      follow(figure, method, drawn, scale);
    }
  }
  show();
})();
