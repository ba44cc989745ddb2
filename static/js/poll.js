// Keeps the Create API tab true: asks for changes each data-every ms, not on hidden tabs, and says so when nobody answers.
(() => {
  const SILENT_AFTER_MS = 15000;
  const notice = document.querySelector("#last-checked");
  let timer = null;
  let isAsking = false;
  let answeredAt = Date.now();

  const poller = () => document.querySelector("#api-poll");
  const plan = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(ask, ms);
  };
  const ask = () => {
    const element = poller();
    if (!element || document.hidden || isAsking) return;
    isAsking = true;
    htmx.trigger(element, "poll");
  };
  const showSilence = () => {
    const isSilent = !document.hidden && Date.now() - answeredAt > SILENT_AFTER_MS;
    if (isSilent && notice.hidden) {
      const time = new Date(answeredAt).toLocaleTimeString(document.documentElement.lang, { timeStyle: "short" });
      notice.textContent = `${notice.dataset.text} ${time}`;
    }
    notice.hidden = !isSilent;
  };

  document.addEventListener("htmx:afterRequest", (event) => {
    const isPoll = event.detail.requestConfig?.path.startsWith(poller()?.getAttribute("hx-get") ?? " ");
    const status = event.detail.xhr?.status ?? 0;
    if (status > 0 && status < 500) answeredAt = Date.now();
    if (isPoll) isAsking = false;
    if (poller()) plan(Number(poller().dataset.every));
  });
  // A deed came between: an answer to an older question would show an older state.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.requestConfig.verb !== "get" && poller()) htmx.trigger(poller(), "htmx:abort");
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else {
      answeredAt = Math.max(answeredAt, Date.now() - SILENT_AFTER_MS / 2);
      ask();
    }
  });
  document.addEventListener("DOMContentLoaded", () => plan(Number(poller().dataset.every)));
  setInterval(showSilence, 1000);
})();
