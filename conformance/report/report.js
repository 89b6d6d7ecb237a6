"use strict";
// Lists the cases and shows one with its layers, from the packed block. Text from the results goes
// into the page as text only, never as markup.
(async () => {
  const packed = document.getElementById("packed");
  const note = document.getElementById("cases-note");
  if (!packed) return;
  if (typeof DecompressionStream === "undefined") {
    note.append(" This browser has no DecompressionStream, which the list needs.");
    return;
  }
  const data = await unpack(packed.textContent);
  const SIGNS = { error: "!", deviates: "✗", undecided: "?", "known-difference": "≠", "not-run": "–", conforms: "✓" };
  const PAGE = 50;

  // ---- the packed block: see sections/cases.py ----

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    const start = 4 + new DataView(buffer).getUint32(0);
    const data = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
    const n = (buffer.byteLength - start) / 6;
    const planes = [0, 1, 2, 3, 4, 5].map((i) => new Uint8Array(buffer, start + i * n, n));
    const value = (plane, i) => {
      const e = planes[plane][i];
      if (e === 0) return 0;
      if (e === 1) return NaN;
      if (e === 2) return Infinity;
      const digits = planes[plane + 1][i] * 10 + planes[plane + 2][i];
      return Number(`${digits}e${e - 130}`);
    };
    let at = 0;
    const results = data.results.map(
      ([c, i, verdict, shape, message, deviation, known, straddling, worst]) => {
        const first = at;
        at += data.shapes[shape].length;
        return {
          case: c, implementation: data.implementations[i], verdict: data.verdicts[verdict],
          shape: data.shapes[shape], message, deviation, known, straddling,
          worst: worst && {
            key: data.shapes[shape][worst[0]], ratio: value(0, first + worst[0]),
            error: worst[1], tolerance: worst[2], index: worst[3],
          },
          records() {
            return this.shape.map(([quantity, layer, gate], k) => ({
              quantity, layer, gate, ratio: value(0, first + k), ulps: value(3, first + k),
            }));
          },
        };
      });
    const cases = data.cases.map((row) => Object.fromEntries(row.map((v, k) => [data.fields[k], v])));
    for (const c of cases) c.results = [];
    for (const r of results) cases[r.case].results.push(r);
    for (const c of cases) {
      c.worst = Math.max(-1, ...c.results.filter((r) => r.worst).map((r) => (Number.isNaN(r.worst.ratio) ? Infinity : r.worst.ratio)));
      c.rank = Math.min(...c.results.map((r) => data.verdicts.indexOf(r.verdict)), 9);
      c.text = [c.id, c.why, c.activation, ...c.others, c.output, c.dtype, c.loss, c.family, ...c.results.map((r) => r.message)].join("\n").toLowerCase();
    }
    return { ...data, cases };
  }

  // ---- numbers as the rest of the report writes them: see numbers.py ----

  function short(x) {
    const v = Number(x === "nan" ? NaN : x === "inf" ? Infinity : x === "-inf" ? -Infinity : x);
    const m = Math.abs(v), sign = v < 0 ? "−" : "";
    if (Number.isNaN(v)) return "NaN";
    if (m === Infinity) return sign + "∞";
    if (m === 0) return "0";
    if (m < 1e-3 || m >= 1e5) return sign + m.toExponential(1).replace("e+", "e").replace("e-", "e−");
    if (m >= 100) return sign + count(Math.round(m));
    return sign + (m >= 10 ? m.toFixed(1) : m >= 1 ? m.toFixed(2) : m.toPrecision(3));
  }
  function level(v) {
    if (!Number.isFinite(v)) return "r9";
    const i = [0, 0.1, 0.25, 0.5, 0.75, 1, 10, 1000].findIndex((bound) => v <= bound);
    return "r" + (i < 0 ? 8 : i);
  }
  function count(n) {
    return n.toLocaleString("en");
  }
  const symbol = (quantity) => data.quantities[quantity] ?? quantity;
  const where = (quantity, layer) => (quantity === "loss" ? "the loss" : layer ? `${symbol(quantity)} of layer ${layer}` : "the whole trace");

  // ---- elements ----

  function el(tag, attributes = {}, ...children) {
    const e = document.createElement(tag);
    for (const [key, v] of Object.entries(attributes)) {
      if (key.startsWith("on")) e.addEventListener(key.slice(2), v);
      else if (v !== null && v !== undefined && v !== false) e.setAttribute(key, v === true ? "" : v);
    }
    e.append(...children.filter((child) => child !== null && child !== undefined));
    return e;
  }
  const name = (text) => el("bdi", {}, String(text));
  const sign = (text) => el("span", { class: "sign", "aria-hidden": "true" }, text);
  const chip = (verdict) => el("span", { class: `chip v-${verdict}` }, sign(SIGNS[verdict]), ` ${verdict}`);
  const ratio = (v) => el("span", { class: `ratio ${level(v)}` }, short(v), v <= 1 ? null : " ✗");
  const box = (label, ...children) => el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, ...children);
  const link = (id) => "#case=" + encodeURIComponent(id);
  const entry = (index) => (index.length ? `entry [${index.join(", ")}]` : "the value");
  const pairs = (rows) => el("dl", { class: "facts-list" }, ...rows.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, typeof v === "string" ? name(v) : v)]));

  // ---- one case ----

  function layers(result) {
    const records = result.records();
    const gates = [...new Set(records.map((r) => r.gate))].sort((a, b) => place(data.gates, a) - place(data.gates, b));
    return [
      el("p", { class: "aside" }, "Each layer at each gate: error over tolerance where it is largest and, below it, the largest error in ulps."),
      el("div", { class: "tables" }, ...gates.map((gate) => table(gate, records.filter((r) => r.gate === gate)))),
    ];
  }

  function table(gate, records) {
    if (records.every((r) => r.layer === 0)) // it is about the whole trace
      return el("p", {}, el("b", {}, name(gate)), ": ", ...records.map((r) => ratio(r.ratio)), " for the whole trace");
    const known = Object.keys(data.quantities);
    const quantities = [...new Set(records.map((r) => r.quantity))].sort((a, b) => place(known, a) - place(known, b));
    const rows = [...new Set(records.map((r) => r.layer))].sort((a, b) => a - b);
    const cells = new Map(records.map((r) => [JSON.stringify([r.quantity, r.layer]), r]));
    return box(`Layers, ${gate}`, el("table", { class: "layers" },
      el("caption", {}, name(gate)),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "layer"), ...quantities.map((q) => el("th", { scope: "col" }, name(symbol(q)))))),
      el("tbody", {}, ...rows.map((layer) => el("tr", {}, el("th", { scope: "row" }, String(layer)),
        ...quantities.map((q) => {
          const r = cells.get(JSON.stringify([q, layer]));
          if (!r) return el("td", {});
          return el("td", { class: level(r.ratio) }, short(r.ratio), r.ratio <= 1 ? null : " ✗", el("small", {}, short(r.ulps) + " ulp"));
        }))))));
  }
  function place(order, x) {
    const i = order.indexOf(x);
    return i < 0 ? order.length : i;
  }

  function deviation(d) {
    const row = (label, v, more) => el("tr", {}, el("th", { scope: "row" }, label), el("td", {}, v), el("td", {}, more));
    return [
      el("p", {}, "First deviation: ", el("b", {}, where(d.quantity, d.layer)), ", ", name(d.gate), ` gate, ${entry(d.index)}: the error is `, ratio(Number(d.ratio)), " times what is allowed."),
      el("table", { class: "values" }, el("tbody", {},
        row("got", name(d.got), el("code", {}, name(d.got_hex))),
        row("expected", name(d.expected), el("code", {}, name(d.expected_hex))),
        row("error", short(d.error), `tolerance ${short(d.tolerance)}`))),
    ];
  }

  function shown(result, open) {
    const w = result.worst;
    if (result.verdict === "not-run")
      return el("p", { class: "absent" }, el("b", {}, name(result.implementation)), " ", chip(result.verdict), " ", el("span", { class: "aside" }, name(result.message)));
    const body = [
      result.message ? el("p", { class: "message" }, name(result.message)) : null,
      ...(result.deviation ? deviation(result.deviation) : []),
      w ? el("p", {}, `Largest error over tolerance: `, ratio(w.ratio), ` at ${where(w.key[0], w.key[1])}, `, name(w.key[2]), ` gate, ${entry(w.index)}; error ${short(w.error)}, tolerance ${short(w.tolerance)}.`) : null,
      result.known.length ? el("p", {}, "Conforms only with: ", name(result.known.join(", ")), ".") : null,
      result.straddling ? el("p", {}, `At a kink: ${result.straddling} entries, for which either one-sided derivative was accepted.`) : null,
      ...(result.shape.length ? layers(result) : []),
    ];
    return el("details", { open }, el("summary", {}, el("b", {}, name(result.implementation)), " ", chip(result.verdict), w ? " " : null, w ? ratio(w.ratio) : null), ...body);
  }

  const quoted = (s) => (/^[\w@%+=:,./-]+$/.test(s) ? s : `'${s.replaceAll("'", `'"'"'`)}'`);
  const dialog = el("dialog", { "aria-labelledby": "case-heading" });
  document.body.append(dialog);
  let current = null;

  function show(c) {
    current = c;
    const at = found.indexOf(c);
    const step = (by, label) => {
      const to = at < 0 ? undefined : found[at + by];
      return el("button", { type: "button", disabled: !to, onclick: () => go(to) }, label);
    };
    const worst = c.results.reduce((a, b) => (data.verdicts.indexOf(b.verdict) < data.verdicts.indexOf(a.verdict) ? b : a), c.results[0]);
    const first = worst && ["error", "deviates", "undecided"].includes(worst.verdict) ? worst : c.results.find((r) => r.shape.length);
    dialog.replaceChildren(
      el("div", { class: "bar-top" }, el("span", { class: "aside" }, at < 0 ? "" : `${count(at + 1)} of ${count(found.length)}`), step(-1, "← Previous"), step(1, "Next →"),
        el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
      el("h2", { id: "case-heading", tabindex: "-1" }, name(c.id)),
      el("p", {}, name(c.why)),
      pairs([
        ["Network", `${c.widths.join(" → ")}, ${[c.activation, ...c.others].join(", ")}, last layer ${c.output}${c.bias ? ", with bias" : ""}`],
        ["Data", `${c.batch} row${c.batch === 1 ? "" : "s"}, ${c.dtype}, ${c.loss}, seed ${c.seed}`],
        ["Family", c.family], ["Failing means", data.families[c.family] ?? "–"],
        ["At a prompt", el("code", { class: "command" }, `conformance show ${quoted(c.id)}`)],
      ]),
      ...c.results.map((r) => shown(r, r === first)));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    document.getElementById("case-heading").focus();
  }
  const go = (c) => { location.hash = link(c.id); };

  function follow() {
    if (!location.hash.startsWith("#case=")) {
      if (dialog.open) dialog.close();
      return;
    }
    let id = location.hash.slice(6);
    try { id = decodeURIComponent(id); } catch { /* a hand-written % stands for itself */ }
    const c = data.cases.find((x) => x.id === id);
    if (c) show(c);
    else {
      document.getElementById("cases").scrollIntoView();
      search.value = id;
      refresh();
    }
  }
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#case=")) history.replaceState(null, "", location.href.split("#")[0] + "#cases");
  });
  dialog.addEventListener("click", (e) => { if (e.target === dialog) dialog.close(); });
  document.addEventListener("keydown", (e) => {
    if (!dialog.open || e.ctrlKey || e.metaKey || e.altKey || (e.key !== "j" && e.key !== "k")) return;
    const to = found[found.indexOf(current) + (e.key === "j" ? 1 : -1)];
    if (to && found.includes(current)) go(to);
  });

  // ---- the list ----

  const option = (v, label) => el("option", { value: v }, label ?? v);
  const search = el("input", { type: "search", placeholder: "gelu float32 …", oninput: refresh });
  const verdict = el("select", { onchange: refresh }, option("", "any"), ...data.verdicts.map((v) => option(v, `${SIGNS[v]} ${v}`)));
  const implementation = el("select", { onchange: refresh }, option("", "any"), ...data.implementations.map((i) => option(i)));
  const status = el("span", { role: "status" });
  const body = el("tbody");
  const COLUMNS = [
    ["Case", (c) => c.id], ["Activation", (c) => c.activation], ["Depth", (c) => c.depth], ["Batch", (c) => c.batch],
    ["Dtype", (c) => c.dtype], ["Family", (c) => c.family], ["Ratio", (c) => -c.worst], ["Verdicts", (c) => c.rank],
  ];
  let sorted = { by: null, down: false };
  let page = 0;
  let found = data.cases;

  function matches(c) {
    const results = c.results.filter((r) => !implementation.value || r.implementation === implementation.value);
    if (implementation.value && !results.length) return false;
    if (verdict.value && !results.some((r) => r.verdict === verdict.value)) return false;
    return search.value.toLowerCase().split(/\s+/).every((word) => c.text.includes(word));
  }
  function refresh() {
    found = data.cases.filter(matches);
    if (sorted.by) {
      const key = sorted.by, flip = sorted.down ? -1 : 1;
      found = found.map((c) => [key(c), c]).sort(([a], [b]) => flip * (a < b ? -1 : a > b ? 1 : 0)).map(([, c]) => c);
    }
    page = 0;
    draw();
  }
  function draw() {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    body.replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map((c) => {
      const by = new Map(c.results.map((r) => [r.implementation, r.verdict]));
      return el("tr", {}, el("th", { scope: "row" }, el("a", { class: "case", href: link(c.id) }, name(c.id))),
        el("td", { title: c.activation }, name(c.activation)), el("td", { class: "right" }, String(c.depth)), el("td", { class: "right" }, String(c.batch)),
        el("td", {}, name(c.dtype)), el("td", { title: c.family }, name(c.family)), el("td", { class: "right" }, c.worst < 0 ? "–" : ratio(c.worst)),
        ...data.implementations.map((i) => {
          const v = by.get(i);
          return v ? el("td", { class: `verdict v-${v}`, title: v }, sign(SIGNS[v]), el("span", { class: "hidden" }, v)) : el("td", {});
        }));
    }));
    status.textContent = `${count(found.length)} of ${count(data.cases.length)} cases, page ${page + 1} of ${pages}`;
    back.disabled = page === 0;
    next.disabled = page === pages - 1;
  }
  const turn = (by) => () => { page += by; draw(); };
  const back = el("button", { type: "button", onclick: turn(-1) }, "← Page");
  const next = el("button", { type: "button", onclick: turn(1) }, "Page →");

  function heading([label, key], i) {
    const span = i === COLUMNS.length - 1 ? { colspan: Math.max(1, data.implementations.length), scope: "colgroup", rowspan: 1 } : { scope: "col", rowspan: 2 };
    const th = el("th", span, el("button", { type: "button", onclick: () => {
      sorted = { by: key, down: sorted.by === key && !sorted.down };
      for (const other of th.parentNode.children) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      refresh();
    } }, label));
    return th;
  }
  document.getElementById("cases-list").append(
    el("form", { class: "filters", role: "search", onsubmit: (e) => e.preventDefault() },
      el("label", { class: "grow" }, "Words in the id, the reason or a message", search),
      el("label", {}, "Verdict", verdict), el("label", {}, "Of", implementation)),
    el("div", { class: "pages" }, back, next, status),
    box("Cases", el("table", { class: "list" }, el("caption", {}, "All cases; a heading sorts, a case opens its layers, j and k step through the list"),
      el("thead", {}, el("tr", {}, ...COLUMNS.map(heading)), el("tr", {}, ...data.implementations.map((i) => el("th", { scope: "col", class: "upright" }, name(i))))), body)));
  note.remove();
  document.documentElement.classList.add("js");
  refresh();
  window.addEventListener("hashchange", follow);
  follow();
})();
