// Small things that a server cannot know: the theme and zone of the Airflow around, and what is live.
"use strict";
(() => {
  const outer = (() => {
    try {
      return window.parent !== window && window.parent.document ? window.parent : null;
    } catch {
      return null; // another site has framed us: nothing of it can be read
    }
  })();
  const root = document.documentElement;

  const kept = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };

  function theme() {
    const around = outer && outer.document.documentElement;
    const chosen = around ? (around.classList.contains("dark") ? "dark" : "light") : kept("theme");
    if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
    else delete root.dataset.theme;
  }
  theme();
  if (outer) {
    new MutationObserver(theme).observe(outer.document.documentElement, { attributes: true, attributeFilter: ["class"] });
  }

  function times(part) {
    const zone = (kept("timezone") || "").replaceAll('"', "");
    const form = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" };
    if (zone && zone !== "local") form.timeZone = zone;
    let format;
    try {
      format = new Intl.DateTimeFormat("sv-SE", form);
    } catch {
      return; // a zone this browser does not know: UTC stays
    }
    for (const one of part.querySelectorAll("time[datetime]")) {
      one.textContent = format.format(new Date(one.dateTime));
      one.title = one.dateTime;
    }
  }

  // Inside Airflow, its own pages open in its own window: a frame may not be navigated out of.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (!link || !outer || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    outer.history.pushState({}, "", link.href);
    outer.dispatchEvent(new PopStateEvent("popstate"));
  });

  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button) setTimeout(() => (button.disabled = true)); // once is enough
  });

  const isBusy = () => document.querySelector("details.action[open]") || ["INPUT", "TEXTAREA", "SELECT"].includes((document.activeElement || {}).tagName);
  async function refresh() {
    const main = document.querySelector("main[data-live]");
    if (!main) return;
    if (!document.hidden && !isBusy()) {
      try {
        const reply = await fetch(location.href, { headers: { accept: "text/html" } });
        const found = new DOMParser().parseFromString(await reply.text(), "text/html").querySelector("main");
        if (reply.ok && found && !isBusy()) {
          main.replaceWith(found);
          times(found);
        }
      } catch {
        // the server is away: the next time will tell
      }
    }
    setTimeout(refresh, 1000 * Number(main.dataset.live));
  }

  function answer(form, content) {
    form.querySelector("output").innerHTML = content; // escaped by the server
  }

  function pads() {
    for (const pad of document.querySelectorAll("canvas.pad")) {
      const context = pad.getContext("2d", { willReadFrequently: true });
      context.fillStyle = "#000";
      context.fillRect(0, 0, pad.width, pad.height);
      context.lineCap = "round";
      let last = null;
      const place = (event) => {
        const box = pad.getBoundingClientRect();
        return [((event.clientX - box.left) / box.width) * pad.width, ((event.clientY - box.top) / box.height) * pad.height];
      };
      const stroke = (from, to) => {
        context.strokeStyle = "#fff";
        context.lineWidth = pad.width / 10;
        context.beginPath();
        context.moveTo(...from);
        context.lineTo(...to);
        context.stroke();
      };
      const draw = (event) => {
        if (!last) return;
        const next = place(event);
        stroke(last, next);
        last = next;
      };
      pad.addEventListener("pointerdown", (event) => { last = place(event); pad.setPointerCapture(event.pointerId); draw(event); });
      pad.addEventListener("pointermove", draw);
      pad.addEventListener("pointerup", () => (last = null));
      let pen = [pad.width / 2, pad.height / 2];
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      pad.addEventListener("keydown", (event) => {
        const move = moves[event.key];
        if (!move) return;
        event.preventDefault();
        const next = pen.map((at, axis) => Math.min(Math.max(at + (move[axis] * pad.width) / 20, 0), pad.width));
        if (event.shiftKey) stroke(pen, next);
        pen = next;
      });
      const clear = pad.parentElement.querySelector("[data-clear]");
      clear.addEventListener("click", () => context.fillRect(0, 0, pad.width, pad.height));
      const example = pad.parentElement.querySelector("[data-example]:not(canvas)");
      if (example) example.addEventListener("click", () => paint(pad, context));
    }
  }

  function paint(pad, context) {
    const rows = JSON.parse(pad.dataset.example);
    const [least, most] = [Number(pad.dataset.least), Number(pad.dataset.most)];
    const [high, wide] = [pad.height / rows.length, pad.width / rows[0].length];
    rows.forEach((row, y) =>
      row.forEach((cell, x) => {
        const value = Array.isArray(cell) ? cell[0] : cell;
        const grey = Math.round((255 * (value - least)) / (most - least));
        context.fillStyle = `rgb(${grey},${grey},${grey})`;
        context.fillRect(x * wide, y * high, wide + 1, high + 1);
      }),
    );
    context.fillStyle = "#000";
  }

  // The pad in as many cells as the model's image has, each from its least to its greatest value.
  function pixels(pad) {
    const [high, wide, depth] = pad.dataset.shape.split(",").map(Number);
    const [least, most] = [Number(pad.dataset.least), Number(pad.dataset.most)];
    const small = document.createElement("canvas");
    small.width = wide;
    small.height = high;
    const context = small.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(pad, 0, 0, wide, high);
    const data = context.getImageData(0, 0, wide, high).data;
    const value = (y, x) => least + (data[4 * (y * wide + x)] / 255) * (most - least);
    return Array.from({ length: high }, (_, y) => Array.from({ length: wide }, (_, x) => (depth ? Array(depth).fill(value(y, x)) : value(y, x))));
  }

  function trials() {
    const form = document.querySelector("form[data-try]");
    if (!form) return;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const instance = {};
      for (const field of form.querySelectorAll("[data-column]")) {
        if (field.tagName === "CANVAS") instance[field.dataset.column] = pixels(field);
        else if (field.dataset.type === "number") instance[field.dataset.column] = field.value === "" ? null : Number(field.value);
        else instance[field.dataset.column] = field.value;
      }
      const reply = await fetch(form.action, { method: "POST", headers: { "content-type": "application/json", accept: "text/html" }, body: JSON.stringify({ instance }) });
      answer(form, await reply.text());
      for (const button of form.querySelectorAll("button")) button.disabled = false;
    });
  }

  times(document);
  pads();
  trials();
  const live = document.querySelector("main[data-live]");
  if (live) setTimeout(refresh, 1000 * Number(live.dataset.live));
})();
