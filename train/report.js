// Draws the charts of a report from the data that the page carries.
(function () {
  const { palette, dashes, points: forms, axis, lines, draw } = chartStyle;
  const groups = JSON.parse(document.getElementById("data").textContent).groups;
  const ofMethod = {
    "vanilla": "#000000", "compress-x": "#E69F00", "compress-gy": "#56B4E9", "instant": "#009E73",
  };
  const known = groups.every((g) => ofMethod[g.method]) &&
    new Set(groups.map((g) => g.method)).size === groups.length;
  groups.forEach((g, i) => {
    g.color = known ? ofMethod[g.method] : palette[i % palette.length];
    g.dash = dashes[i % dashes.length];
  });
  const labels = groups.map((g) => g.label);

  const hide = (id) => { document.getElementById("figure-" + id).style.display = "none"; };

  // A unit that suits the largest value.
  function unit(max, base, names) {
    let scale = 1, i = 0;
    while (max / scale >= base && i + 1 < names.length) { scale *= base; ++i; }
    return { scale, name: names[i] };
  }
  const short = (v) => v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2);

  // Writes each bar's total behind its end.
  const totals = {
    id: "totals",
    afterDatasetsDraw(chart) {
      const { ctx, scales } = chart;
      ctx.save();
      ctx.font = "12px " + Chart.defaults.font.family;
      ctx.fillStyle = "#1a1a1a";
      ctx.textBaseline = "middle";
      chart.data.labels.forEach((_, i) => {
        const sum = chart.data.datasets.reduce((s, d) => s + (d.data[i] || 0), 0);
        ctx.fillText(short(sum), scales.x.getPixelForValue(sum) + 6, scales.y.getPixelForValue(i));
      });
      ctx.restore();
    },
  };

  // parts: [{label, color, values: one a group}]
  function bars(id, parts, title) {
    const most = Math.max(...groups.map((_, i) => parts.reduce((s, p) => s + (p.values[i] || 0), 0)));
    draw(id, {
      type: "bar",
      plugins: [totals],
      data: {
        labels,
        datasets: parts.map((p) => ({
          label: p.label, data: p.values, backgroundColor: p.color,
          borderColor: "#fff", borderWidth: 1, maxBarThickness: 34,
        })),
      },
      options: {
        indexAxis: "y",
        plugins: { legend: { display: parts.length > 1, position: "bottom" } },
        scales: {
          x: axis(title, { stacked: true, beginAtZero: true, suggestedMax: most * 1.12 }),
          y: axis("method", { stacked: true, grid: { display: false } }),
        },
      },
    });
  }

  function curves(id, key, title, factor, dots) {
    const datasets = [];
    groups.forEach((g) => g.runs.forEach((run, i) => {
      if (run[key].length) {
        datasets.push({
          label: g.label, first: i === 0, data: run[key].map((p) => ({ x: p.x, y: p.y === null ? null : p.y * factor })),
          borderColor: g.color, backgroundColor: g.color, borderDash: g.dash, borderWidth: 1.8,
          pointRadius: dots ? 3 : 0,
        });
      }
    }));
    if (!datasets.length) return hide(id);
    draw(id, {
      type: "line",
      data: { datasets },
      options: {
        interaction: { mode: "nearest", intersect: false },
        plugins: {
          legend: lines((dataset) => dataset.first),
        },
        scales: { x: axis("step", { type: "linear" }), y: axis(title) },
      },
    });
  }

  function ranks(id, key, length, what) {
    const shown = groups.filter((g) => g.layers.some((l) => l[key] > 0));
    if (!shown.length) return hide(id);
    const layers = shown[0].layers;
    // Lines may lie on each other: points of different sizes and forms show them all.
    const datasets = shown.map((g, i) => ({
      type: "line", label: g.label, data: g.layers.map((l) => l[key] > 0 ? l[key] : null),
      borderColor: g.color, backgroundColor: g.color, borderDash: g.dash, borderWidth: 1.8,
      pointRadius: 3 + 2 * i, pointStyle: forms[i % forms.length], spanGaps: false,
    }));
    datasets.push({
      type: "bar", label: "full length", data: layers.map((l) => l[key] > 0 ? l[length] : null),
      backgroundColor: "#dedede", categoryPercentage: 1, barPercentage: 0.9, pointStyle: "rect",
    });
    draw(id, {
      data: { labels: layers.map((l) => l.name), datasets },
      options: {
        interaction: { mode: "index", intersect: false },
        plugins: { legend: { position: "bottom", labels: { usePointStyle: true } } },
        scales: {
          x: axis("layer", { ticks: { maxRotation: 60, autoSkip: layers.length > 60 }, grid: { display: false } }),
          y: axis(what, { beginAtZero: true }),
        },
      },
    });
  }

  curves("loss", "loss", "cross-entropy loss (nats)", 1, false);
  curves("accuracy", "accuracy", "test accuracy (%)", 100, true);

  const sum = (object, keys) => keys.reduce((s, k) => s + (object[k] || 0), 0);
  const work = ["g_w", "g_x", "compress", "calibrate"];
  const flop = unit(Math.max(...groups.map((g) => sum(g.flops, work))), 1000,
    ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"]);
  const workColors = ["#0072B2", "#56B4E9", "#E69F00", "#D55E00"];
  bars("flops", work.map((k, i) => ({
    label: k, color: workColors[i], values: groups.map((g) => (g.flops[k] || 0) / flop.scale),
  })), "operations of the whole run (" + flop.name + ")");

  const kinds = ["linear", "other"];
  const size = unit(Math.max(...groups.map((g) => sum(g.saved, kinds))), 1024,
    ["bytes", "KiB", "MiB", "GiB"]);
  const kindLabels = ["linear layers", "other layers"], kindColors = ["#009E73", "#c8c8c8"];
  bars("saved", kinds.map((k, i) => ({
    label: kindLabels[i], color: kindColors[i],
    values: groups.map((g) => (g.saved[k] || 0) / size.scale),
  })), "bytes held for backward per sample (" + size.name + ")");

  const phases = ["forward", "backward", "calibrate", "optimizer"];
  const phaseColors = ["#999999", "#0072B2", "#D55E00", "#CC79A7"];
  const parts = phases.map((k, i) => ({
    label: k, color: phaseColors[i], values: groups.map((g) => g.seconds[k] || 0),
  }));
  parts.push({
    label: "data, evaluation, other", color: "#e2e2e2",
    values: groups.map((g) => Math.max(0, (g.seconds.total || 0) - sum(g.seconds, phases))),
  });
  bars("seconds", parts, "wall-clock time of the whole run (s)");

  // The mean as a line with a point at each calibration, and least to most as a band behind it.
  function history(id, title, scale = { beginAtZero: true }) {
    const datasets = [];
    groups.forEach((g) => g.runs.forEach((run, i) => {
      const { mean, least, most } = run[id];
      if (!mean.length) return;
      const line = (data, more) => datasets.push(Object.assign(
        { label: g.label, data, borderColor: g.color, backgroundColor: g.color, borderDash: g.dash,
          borderWidth: 1.8, pointRadius: 3 }, more));
      line(mean, { first: i === 0 });
      if (i > 0) return;
      line(least, { borderWidth: 0, pointRadius: 0, pointHitRadius: 0 });
      line(most, { borderWidth: 0, pointRadius: 0, pointHitRadius: 0, fill: "-1", backgroundColor: g.color + "22" });
    }));
    if (!datasets.length) return hide(id);
    draw(id, {
      type: "line",
      data: { datasets },
      options: {
        interaction: { mode: "nearest", intersect: false },
        plugins: {
          legend: lines((dataset) => dataset.first),
        },
        scales: { x: axis("step", { type: "linear" }), y: axis(title, scale) },
      },
    });
  }

  ranks("rank_x", "rank_x", "length_x", "rank of x (directions)");
  ranks("rank_g", "rank_g", "length_g", "rank of g (directions)");
  history("ranks_x", "rank of x (directions)");
  history("ranks_g", "rank of g (directions)");
  history("kept", "share of the gradients' energy", { suggestedMax: 1 });
})();
