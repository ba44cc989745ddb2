// Times that move on: data-relative ("2 min ago") and data-clock ("1.4 s" since a moment, running).
// The server's clock counts: data-now on <body> is its time when the page was made.
(() => {
  const language = document.documentElement.lang || "en";
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  const skew = Date.parse(document.body.dataset.now) - Date.now();
  const now = () => Date.now() + (Number.isNaN(skew) || Math.abs(skew) < 1000 ? 0 : skew);
  const ago = (seconds) => {
    if (seconds < 10) return document.body.dataset.justNow;
    if (seconds < 60) return relative.format(-Math.floor(seconds), "second");
    if (seconds < 3600) return relative.format(-Math.floor(seconds / 60), "minute");
    if (seconds < 86400) return relative.format(-Math.floor(seconds / 3600), "hour");
    return seconds < 30 * 86400 ? relative.format(-Math.floor(seconds / 86400), "day") : null;
  };
  const tick = () => {
    for (const element of document.querySelectorAll("time[data-relative]")) {
      const text = ago((now() - Date.parse(element.dateTime)) / 1000);
      if (text !== null && element.textContent !== text) element.textContent = text;
    }
    for (const element of document.querySelectorAll("[data-clock]")) {
      const seconds = Math.max(0, (now() - Date.parse(element.dataset.clock)) / 1000);
      element.textContent = `${seconds < 60 ? seconds.toFixed(1) : Math.floor(seconds)} s`;
    }
  };
  tick();
  setInterval(() => document.hidden || tick(), 200);
  document.addEventListener("htmx:afterSettle", tick);
})();
