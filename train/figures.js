// Draws the line charts that the page carries as data (train/figures.h).
(function () {
  const { palette, dashes, points, axis, lines, draw } = chartStyle;
  const crowded = 40;  // from here on a line shows no points
  const shown = (dataset) => !dataset.aside;

  // Datasets that belong to another: no points, no entry in the legend, no tooltip.
  const aside = (data, more) => Object.assign(
    { data, aside: true, order: 1, borderWidth: 0, pointRadius: 0, pointHitRadius: 0 }, more);

  function datasetsOf(chart) {
    const drawable = (y) => y !== null && !(chart.log_y && y <= 0);
    const pairs = (xs, ys) => xs.map((x, i) => ({ x, y: drawable(ys[i]) ? ys[i] : null }));
    const datasets = [], behind = [];
    chart.series.forEach((s, i) => {
      const color = palette[i % palette.length];
      datasets.push({
        label: s.label, data: pairs(s.x, s.y), showLine: s.line, order: -i,  // the last on top
        borderColor: color, backgroundColor: color, borderWidth: 1.8,
        borderDash: dashes[i % dashes.length],
        pointStyle: points[i % points.length], pointRadius: s.line && s.x.length > crowded ? 0 : 4,
      });
      if (!s.low.length) return;
      if (s.line) {
        behind.push(aside(pairs(s.x, s.low)),
                    aside(pairs(s.x, s.high), { fill: "-1", backgroundColor: color + "33" }));
      } else {  // bars of error: from low to high, then a gap
        const bars = s.x.flatMap((x, j) => drawable(s.low[j]) && drawable(s.high[j])
          ? [{ x, y: s.low[j] }, { x, y: s.high[j] }, { x, y: null }] : []);
        behind.push(aside(bars, { borderColor: color, borderWidth: 1.8 }));
      }
    });
    const heights = datasets.flatMap((d) => d.data.map((p) => p.y)).filter((y) => y !== null);
    const least = Math.min(...heights), most = Math.max(...heights);
    chart.marks.forEach((mark, i) => datasets.push({
      label: mark.label, data: [{ x: mark.x, y: least }, { x: mark.x, y: most }],
      borderColor: "#555", backgroundColor: "#555", borderWidth: 1.5,
      borderDash: dashes[(i + 1) % dashes.length], pointRadius: 0,
    }));
    return datasets.concat(behind);
  }

  const markers = {
    position: "bottom",
    labels: {
      usePointStyle: true, boxHeight: 8,
      filter: (item, data) => shown(data.datasets[item.datasetIndex]),
      sort: (a, b) => a.datasetIndex - b.datasetIndex,
    },
  };

  JSON.parse(document.getElementById("data").textContent).forEach((chart) => {
    const names = chart.categories;
    const across = names.length === 0 ? { type: "linear" } : {
      type: "linear", min: -0.5, max: names.length - 0.5, grid: { display: false },
      afterBuildTicks: (scale) => { scale.ticks = names.map((_, value) => ({ value })); },
      ticks: { callback: (value) => names[value], autoSkip: false, minRotation: 90 },
    };
    draw(chart.id, {
      type: "line",
      data: { datasets: datasetsOf(chart) },
      options: {
        interaction: { mode: "nearest", intersect: false },
        plugins: {
          title: { display: true, text: chart.title, align: "start", font: { size: 14 } },
          tooltip: { filter: (item) => shown(item.dataset) },
          legend: chart.series.every((s) => s.line) ? lines(shown) : markers,
        },
        scales: {
          x: axis(chart.x_label, across),
          y: axis(chart.y_label, { type: chart.log_y ? "logarithmic" : "linear" }),
        },
      },
    });
  });
})();
