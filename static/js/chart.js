// Draws the figure of #request-figure into #chart with plotly.js, in the page's colours and fonts; again when either changes.
(() => {
  const CONFIG = { displayModeBar: false, responsive: true, showTips: false, doubleClick: false };
  const chart = document.querySelector("#chart");
  if (!chart) return;
  const probe = document.createElement("span");
  probe.hidden = true;
  chart.after(probe);
  // A token may be light-dark(): only a computed colour is a colour plotly knows.
  const color = (token) => {
    probe.style.color = `var(${token})`;
    return getComputedStyle(probe).color;
  };

  const dressed = (figure) => {
    const [text, muted, grid, surface] = ["--text", "--muted", "--chart-grid", "--surface"].map(color);
    const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: muted };
    for (const trace of figure.data) {
      trace.marker.color = color(trace.meta.color);
      trace.marker.pattern.fgcolor = surface;
    }
    return {
      ...figure.layout,
      font,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      legend: { ...figure.layout.legend, font: { ...font, color: text } },
      xaxis: { ...figure.layout.xaxis, linecolor: grid },
      yaxis: { ...figure.layout.yaxis, gridcolor: grid },
      hoverlabel: { bgcolor: surface, bordercolor: grid, font: { ...font, color: text } },
    };
  };
  const draw = () => {
    const data = document.querySelector("#request-figure");
    if (!data || !window.Plotly || chart.offsetParent === null) return;
    const figure = JSON.parse(data.textContent);
    const layout = dressed(figure);
    Plotly.react(chart, figure.data, layout, CONFIG);
  };

  document.querySelector("#plotly").addEventListener("load", draw);
  document.addEventListener("themechange", draw);
  document.addEventListener("htmx:oobAfterSwap", (event) => {
    if (event.detail.target.id === "api-requests" || event.detail.target.id === "api-status") setTimeout(draw);
  });
  const toggle = document.querySelector("[data-table-toggle]");
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const isTable = toggle.closest(".requests").classList.toggle("shows-table");
    toggle.setAttribute("aria-pressed", isTable);
    draw();
  });
  draw();
})();
