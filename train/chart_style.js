// What the charts of all pages share. Colours are those of Okabe and Ito, which people with any
// common colour blindness can tell apart; lines differ in dashes and points in form too.
"use strict";
const chartStyle = {
  palette: ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442"],
  dashes: [[], [7, 3], [2, 2], [9, 3, 2, 3]],
  points: ["circle", "rectRot", "triangle", "rect"],

  axis: (text, more) => Object.assign(
    { title: { display: true, text }, grid: { color: "#e6e6e6" } }, more),
  // A legend of lines with their dashes, for the datasets that `shown` accepts.
  lines: (shown) => ({
    position: "bottom",
    labels: {
      usePointStyle: true, pointStyleWidth: 36,
      filter: (item, data) => shown(data.datasets[item.datasetIndex]),
      sort: (a, b) => a.datasetIndex - b.datasetIndex,
      generateLabels: (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart)
        .map((item) => {
          const { borderDash, borderWidth } = chart.data.datasets[item.datasetIndex];
          return Object.assign(item, { pointStyle: "line", lineDash: borderDash, lineWidth: borderWidth });
        }),
    },
  }),
  draw: (id, config) => new Chart(document.getElementById(id), config),
};
Chart.defaults.animation = false;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.font.family = 'system-ui, "DejaVu Sans", sans-serif';
Chart.defaults.color = "#333";
// Printers draw the canvas as it is: give it enough pixels.
Chart.defaults.devicePixelRatio = Math.max(2, window.devicePixelRatio);
