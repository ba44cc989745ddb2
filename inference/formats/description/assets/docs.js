// The form of one row, and the Copy buttons. Nothing is kept: the key lives in its field only.
(() => {
  const cell = (field) => {
    const text = field.value.trim();
    if (field.dataset.type === "string") return field.value === "" ? null : field.value;
    if (text === "") return null;
    if (field.dataset.type === "bool") return text === "true";
    const number = Number(text);
    return Number.isNaN(number) ? text : number; // what is no number is sent as it is: the answer says what is wrong
  };

  const row = (form) => {
    const box = form.querySelector("#row");
    if (box) return JSON.parse(box.value);
    const made = {};
    for (const field of form.querySelectorAll("[data-column]")) {
      const value = cell(field);
      if (value !== null) made[field.dataset.column] = value;
    }
    return made;
  };

  const show = (place, title, text) => {
    const head = document.createElement("p");
    head.textContent = title;
    const body = document.createElement("pre");
    body.tabIndex = 0;
    body.textContent = text;
    const frame = document.createElement("div");
    frame.className = "code";
    frame.append(body);
    place.replaceChildren(head, ...(text ? [frame] : []));
  };

  const pretty = (text) => {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  };

  const send = async (form, place) => {
    const headers = { "content-type": "application/json" };
    const key = form.querySelector("#key").value.trim();
    if (key) headers["x-api-key"] = key;
    const started = performance.now();
    const reply = await fetch(form.dataset.url, { method: "POST", headers, body: JSON.stringify({ rows: [row(form)] }) });
    const text = await reply.text();
    const left = reply.headers.get("x-quota-remaining");
    const parts = [`Status ${reply.status}`, `${Math.round(performance.now() - started)} ms`];
    if (left !== null) parts.push(`${left} requests of the trial left`);
    show(place, parts.join(" · "), pretty(text));
  };

  const form = document.querySelector("#try-form");
  const place = document.querySelector("#try-reply");
  form.hidden = false;
  document.querySelector("#try-without").hidden = true;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    button.setAttribute("aria-disabled", "true");
    try {
      await send(form, place);
    } catch (error) {
      show(place, `Nothing was answered: ${error.message}`, "");
    }
    button.removeAttribute("aria-disabled");
  });

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
      setTimeout(() => {
        button.textContent = "Copy";
      }, 2000);
    });
  }
})();
