"use strict";
// Lists the cases, filters them and shows one with its layers, from the packed block. Text from the
// results goes into the page as text only, never as markup.
(async () => {
  const note = document.getElementById("cases-note");
  const packed = document.getElementById("packed")?.textContent ?? globalThis.packed;
  if (!packed || !note) return;
  if (typeof DecompressionStream === "undefined") {
    note.append(" This browser has no DecompressionStream, which the list needs.");
    return;
  }
  await new Promise((go) => setTimeout(go)); // the first screen comes first
  const data = await unpack(packed.trim());
  const SIGNS = { error: "!", deviates: "✗", undecided: "?", inaccurate: "≈", "known-difference": "≠", "not-run": "–", conforms: "✓" };
  const FAILING = ["error", "deviates", "undecided"];
  const PAGE = 50;

  // ---- the packed block: see sections/cases.py ----

  async function bytesOf(text) {
    const binary = atob(text), bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  }

  async function unpack(text) {
    const buffer = await bytesOf(text);
    const start = 4 + new DataView(buffer).getUint32(0);
    const data = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
    let first = 0;
    const results = data.results.map(
      ([c, i, verdict, shape, message, deviation, known, straddling, worst, blame, findings, missing, full]) => {
        const r = {
          case: c, implementation: data.implementations[i], verdict: data.verdicts[verdict], shape: data.shapes[shape], first,
          message, deviation, known: known || [], straddling, worst, blame: blame || [], findings: findings || [], missing: missing || [], full,
        };
        first += r.shape.length;
        return r;
      });
    Object.assign(data, planes(buffer, start, first, data.digits));
    for (const r of results) if (r.worst) r.worst = found(r, r.worst);
    function found(r, [k, error, tolerance, index, got, expected]) {
      const [quantity, layer, gate] = r.shape[k];
      return { quantity, layer, gate, ratio: data.ratio(r, k), error, tolerance, index, got, expected };
    }
    data.cases = data.cases.map((row) => Object.fromEntries(row.map((v, k) => [data.fields[k], v])));
    for (const c of data.cases) c.results = [];
    for (const r of results) data.cases[r.case].results.push(r);
    data.text = (c) => (c.text ??= [c.id, c.why, c.activation, ...c.others, c.output, c.dtype, c.loss, c.family,
      ...c.results.flatMap((r) => [r.message, ...r.findings.map(([fault]) => fault)])].join("\n").toLowerCase());
    return data;
  }

  // The numbers of a record: `k` of result `r`.
  function planes(buffer, start, n, digits) {
    const plane = (p) => new Uint8Array(buffer, start + p * n, n);
    const numbers = (p) => {
      const [exponents, high, low] = [plane(p), plane(p + 1), digits > 2 ? plane(p + 2) : null];
      return (r, k) => {
        const i = r.first + k, e = exponents[i];
        if (e < 3) return [0, NaN, Infinity][e];
        const m = low ? high[i] * 10 + low[i] : high[i], power = e - 127 - digits;
        return power <= 0 && power > -23 ? m / 10 ** -power : Number(`${m}e${power}`);
      };
    };
    const width = 1 + Math.ceil(digits / 2), rows = plane(2 * width), columns = plane(2 * width + 1);
    const place = (b) => (b === 255 ? "> 253" : b - 1);
    const index = (r, k) => [rows[r.first + k], columns[r.first + k]].filter(Boolean).map(place);
    return { ratio: numbers(0), ulps: numbers(width), index };
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
  const size = (v) => (Number.isNaN(v) ? Infinity : v); // for ordering: a NaN is as bad as it gets
  function hex(v) {
    if (!Number.isFinite(v)) return "";
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, v);
    const bits = view.getBigUint64(0), e = Number((bits >> 52n) & 2047n);
    const mantissa = (bits & 0xfffffffffffffn).toString(16).padStart(13, "0");
    const power = e ? e - 1023 : -1022;
    return `${bits >> 63n ? "-" : ""}0x${e ? 1 : 0}.${mantissa}p${power < 0 ? "" : "+"}${power}`;
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
    e.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return e;
  }
  const name = (text) => el("bdi", {}, String(text));
  const sign = (text) => el("span", { class: "sign", "aria-hidden": "true" }, text);
  const chip = (verdict) => el("span", { class: `chip v-${verdict}` }, sign(SIGNS[verdict]), ` ${verdict}`);
  const ratio = (v) => el("span", { class: `ratio ${level(v)}` }, short(v), v <= 1 ? null : " ✗");
  const box = (label, ...children) => el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, ...children);
  const button = (label, onclick, attributes = {}) => el("button", { type: "button", onclick, ...attributes }, ...[label].flat());
  const entry = (index) => (index.length ? `entry [${index.join(", ")}]` : "the value");
  const pairs = (rows) => el("dl", { class: "facts-list" }, ...rows.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, typeof v === "string" ? name(v) : v)]));

  // ---- one case ----

  function layers(result) {
    const records = result.shape.map(([quantity, layer, gate], k) => ({
      quantity, layer, gate, ratio: data.ratio(result, k), ulps: data.ulps(result, k), index: data.index(result, k),
    }));
    const gates = [...new Set(records.map((r) => r.gate))].sort((a, b) => place(data.gates, a) - place(data.gates, b));
    const at = records.some((r) => r.index.length) ? ", with the entry [row, column] of that element" : "";
    return [
      el("p", { class: "aside" }, result.full ? `Each layer at each gate: error over tolerance of the worst element; below it the largest error in ulps${at}.`
        : "Each layer at each gate: error over tolerance of the worst element. A report this large keeps ulps and places of the first failures only; the command above shows all."),
      el("div", { class: "tables" }, ...gates.map((gate) => table(gate, records.filter((r) => r.gate === gate), result))),
    ];
  }

  function table(gate, records, result) {
    if (records.every((r) => r.layer === 0)) // it is about the whole trace
      return el("p", {}, el("b", {}, name(gate)), ": ", ...records.map((r) => ratio(r.ratio)), " for the whole trace");
    const known = Object.keys(data.quantities);
    const quantities = [...new Set(records.map((r) => r.quantity))].sort((a, b) => place(known, a) - place(known, b));
    const rows = [...new Set(records.map((r) => r.layer))].sort((a, b) => a - b);
    const cells = new Map(records.map((r) => [JSON.stringify([r.quantity, r.layer]), r]));
    return box(`Layers of ${result.implementation}, ${gate}`, el("table", { class: "layers" },
      el("caption", {}, name(gate)),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "layer"), ...quantities.map((q) => el("th", { scope: "col" }, name(symbol(q)))))),
      el("tbody", {}, ...rows.map((layer) => el("tr", {}, el("th", { scope: "row" }, String(layer)),
        ...quantities.map((q) => {
          const r = cells.get(JSON.stringify([q, layer]));
          if (!r) return el("td", {});
          const at = r.index.length && r.ratio !== 0 ? ` [${r.index.join(", ")}]` : "";
          return el("td", { class: level(r.ratio) }, short(r.ratio), r.ratio <= 1 ? null : " ✗", result.full ? el("small", {}, `${short(r.ulps)} ulp${at}`) : null);
        }))))));
  }
  function place(order, x) {
    const i = order.indexOf(x);
    return i < 0 ? order.length : i;
  }

  function values(d) {
    const row = (label, v, more) => el("tr", {}, el("th", { scope: "row" }, label), el("td", {}, v), el("td", {}, more));
    const number = (v, digits) => [name(v), el("code", {}, name(digits ?? hex(v)))];
    return el("table", { class: "values" }, el("caption", { class: "hidden" }, "Got and expected"), el("tbody", {},
      row("got", ...number(d.got, d.got_hex)), row("expected", ...number(d.expected, d.expected_hex)),
      row("error", short(d.error), `tolerance ${short(d.tolerance)}`)));
  }
  const same = (a, b) => a && b && ["quantity", "layer", "gate", "index"].every((key) => String(a[key]) === String(b[key]));
  const at = (d) => [el("b", {}, where(d.quantity, d.layer)), ", ", name(d.gate), ` gate, ${entry(d.index)}: `];

  function deviation(d) {
    return [el("p", {}, "First deviation: ", ...at(d), "the error is ", ratio(Number(d.ratio)), " times what is allowed."), values(d)];
  }
  function largest(w) {
    const all = w.got !== undefined;
    const more = all ? "" : `; error ${short(w.error)}, tolerance ${short(w.tolerance)}`;
    return [el("p", {}, "Largest error over tolerance: ", ratio(w.ratio), " at ", ...at(w).slice(0, 3), ` gate, ${entry(w.index)}${more}.`), all ? values(w) : null];
  }
  function findings(r) {
    const looks = r.findings.map(([fault, text, suggestion]) => el("p", { class: "looks" }, el("b", {}, fault ? "Looks like" : "Pattern"), " ",
      fault ? el("code", {}, name(fault)) : null, fault && text ? ": " : null, text ? name(text) : null, suggestion ? el("br") : null, suggestion ? el("span", { class: "aside" }, "→ ", name(suggestion)) : null));
    const blame = r.blame.slice(0, 12).flatMap(([q, layer], i) => [i ? ", " : "", el("b", {}, where(q, layer))]);
    const more = r.blame.length > 12 ? ` and ${r.blame.length - 12} more` : "";
    return [...looks, blame.length ? el("p", {}, "To blame, given their own operands: ", ...blame, `${more}. What follows from ${r.blame.length === 1 ? "it" : "them"} is not.`) : null];
  }

  function shown(result, open) {
    const w = result.worst, d = result.deviation;
    if (result.verdict === "not-run")
      return el("p", { class: "absent" }, el("b", {}, name(result.implementation)), " ", chip(result.verdict), " ", el("span", { class: "aside" }, name(result.message)));
    const summary = el("summary", {}, el("b", {}, name(result.implementation)), " ", chip(result.verdict), w ? " " : null, w ? ratio(w.ratio) : null);
    const build = () => [
      ...findings(result),
      result.message ? el("p", { class: "message" }, name(result.message)) : null,
      result.missing.length ? el("p", { class: "aside" }, `Not returned, so not judged: ${result.missing.map(symbol).join(", ")}.`) : null,
      ...(d ? deviation(d) : []),
      ...(w && !same(d, w) ? largest(w) : []),
      result.known.length ? el("p", {}, "Conforms only with: ", name(result.known.join(", ")), ".") : null,
      result.straddling ? el("p", {}, `At a kink: ${result.straddling} entries, for which either one-sided derivative was accepted.`) : null,
      ...(result.shape.length ? layers(result) : []),
    ].filter(Boolean);
    const details = el("details", { open }, summary);
    const fill = () => { if (details.lastChild === summary) details.append(...build()); };
    details.addEventListener("toggle", fill);
    details.addEventListener("expand", fill); // for paper
    if (open) fill();
    return details;
  }

  const pasted = (s) => (/^[\w@%+=:,./-]+$/.test(s) ? s : `'${s.replaceAll("'", `'"'"'`)}'`);
  const dialog = el("dialog", { "aria-labelledby": "case-heading" });
  const help = el("dialog", { class: "help", "aria-labelledby": "help-heading" });
  document.body.append(dialog, help);
  let current = null;
  let inside = false; // the case was opened from this page, and going back closes it

  function show(c) {
    current = c;
    const at = found.findIndex((f) => f.case === c);
    const step = (by, label) => button(label, () => stepTo(at + by), { disabled: at < 0 || !found[at + by] });
    const worst = c.results.reduce((a, b) => (data.verdicts.indexOf(b.verdict) < data.verdicts.indexOf(a.verdict) ? b : a), c.results[0]);
    const first = worst && FAILING.includes(worst.verdict) ? worst : c.results.find((r) => r.shape.length);
    const whose = first ? ` --implementation ${pasted(first.implementation)}` : "";
    dialog.replaceChildren(
      el("div", { class: "bar-top" }, el("span", { class: "aside" }, at < 0 ? "" : `${count(at + 1)} of ${count(found.length)}`), step(-1, "← Previous"), step(1, "Next →"),
        button("Close", () => dialog.close())),
      el("h2", { id: "case-heading", tabindex: "-1" }, name(c.id)),
      el("p", {}, name(c.why)),
      pairs([
        ["Network", `${c.widths.join(" → ")}, ${[c.activation, ...c.others].join(", ")}, last layer ${c.output}${c.bias ? ", with bias" : ""}`],
        ["Data", `${c.batch} row${c.batch === 1 ? "" : "s"}, ${c.dtype}, ${c.loss}, seed ${c.seed}`],
        ["Family", c.family], ["Failing means", data.families[c.family] ?? "–"],
        ...(c.family === "own" ? [] : [["At a prompt", el("code", { class: "command" }, name(`conformance show ${pasted(c.id)}${whose}`))]]),
      ]),
      ...c.results.map((r) => shown(r, r === first)));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    document.getElementById("case-heading").focus();
  }
  function stepTo(at) {
    if (!found[at]) return;
    remember(link(found[at].case));
    show(found[at].case);
  }
  dialog.addEventListener("close", () => {
    const at = found.findIndex((f) => f.case === current);
    if ("case" in asked()) {
      if (inside) history.back();
      else remember(listed());
    }
    if (at >= 0 && body.contains(document.activeElement)) goTo(at);
  });
  for (const d of [dialog, help]) d.addEventListener("click", (e) => { if (e.target === d) d.close(); });

  window.addEventListener("beforeprint", () => { for (const d of dialog.querySelectorAll("details")) d.dispatchEvent(new Event("expand")); });

  // ---- the address: #q=… is a filter, #case=… a case, and both may stand together ----

  const encoded = (text) => encodeURIComponent(text.replace(/\p{Surrogate}/gu, "?"));
  const link = (c) => `#case=${encoded(c.id)}${search.value ? "&q=" + encoded(search.value) : ""}`;
  const listed = () => (search.value ? "#q=" + encoded(search.value) : "#cases");
  function asked() {
    const decoded = (text) => {
      try { return decodeURIComponent(text); } catch { return text; } // a hand-written % stands for itself
    };
    const parts = location.hash.slice(1).split("&").map((part) => part.split(/=(.*)/s));
    return Object.fromEntries(parts.filter(([key]) => key === "q" || key === "case").map(([key, v = ""]) => [key, decoded(v)]));
  }
  // Each entry of the history knows its filter. A browser may refuse, and nothing needs it.
  function remember(hash, entry = "replaceState") {
    try { history[entry]({ q: search.value }, "", hash); } catch { /* the address stays */ }
  }
  function follow(moved) {
    const { q, case: id } = asked(), wanted = q ?? history.state?.q;
    if (wanted !== undefined && wanted !== search.value) filterBy(wanted);
    remember(location.hash || location.href.split("#")[0]);
    if (id === undefined) {
      if (dialog.open) dialog.close();
      if (q !== undefined && !document.getElementById("cases").contains(document.activeElement)) document.getElementById("cases").scrollIntoView();
      return;
    }
    const c = data.cases.find((x) => x.id === id);
    if (!c) {
      if (!id) return;
      document.getElementById("cases").scrollIntoView();
      if (q === undefined) filterBy(language.quoted(id));
      problems.append(el("li", {}, "There is no case ", el("code", {}, name(id)), " in this report: another profile or selection has it."));
      return;
    }
    if (!dialog.open) inside = moved;
    show(c);
  }

  // What is kept between visits, where the browser keeps anything.
  const stored = (key) => `conformance ${key} ${location.pathname}`;
  function keep(key, value) {
    try { localStorage.setItem(stored(key), value); } catch { /* not kept */ }
  }
  function recall(key) {
    try { return localStorage.getItem(stored(key)) ?? ""; } catch { return ""; }
  }

  // ---- the filter ----

  const search = el("input", {
    type: "search", placeholder: "verdict:!conforms depth:>=3 …", oninput: typed, onchange: () => { settled = true; }, onkeydown: down,
    autocomplete: "off", autocapitalize: "off", spellcheck: "false", "aria-describedby": "filter-help filter-problems",
  });
  const problems = el("ul", { class: "problems" });
  const narrow = el("dl", { class: "narrow", "aria-label": "Narrow the list" });
  let settled = true; // the next keystroke begins a new entry of the history

  function typed() {
    refresh();
    keep("filter", search.value);
    remember(listed(), settled ? "pushState" : "replaceState");
    settled = false;
  }
  function down(e) {
    if (e.key === "Enter" || e.key === "ArrowDown") {
      e.preventDefault();
      settled = true;
      goTo(page * PAGE);
    }
  }
  function filterBy(text) {
    search.value = text;
    settled = true;
    refresh();
  }
  function choose(text) {
    search.value = text;
    settled = true;
    typed();
    settled = true;
    search.focus();
  }
  const add = (term) => choose([search.value.trim(), term].filter(Boolean).join(" "));

  function told({ text, said, known, fix, nothing }) {
    const LIST = 24, more = known.length > LIST ? ` and ${known.length - LIST} more` : "";
    const replace = () => choose(search.value.replace(text, () => fix));
    return el("li", {}, el("code", {}, name(text)), nothing ? " finds nothing: " : " is left out: ", name(said), ". ",
      fix ? ["Nearest: ", button(name(fix), replace, { class: "facet" }), ". "] : null,
      ...(known.length ? ["Known: ", ...known.slice(0, LIST).flatMap((k, i) => [i ? ", " : "", name(k)]), `${more}.`] : []));
  }

  // The values of a key among what is found, each with its cases, as buttons that add a term.
  const FACETS = [
    ["verdict", (f) => f.results.map((r) => r.verdict)], ["implementation", (f) => f.results.map((r) => r.implementation)],
    ["depth", (f) => [f.case.depth]], ["batch", (f) => [f.case.batch]], ["dtype", (f) => [f.case.dtype]], ["family", (f) => [f.case.family]],
    ["fault", (f) => f.results.flatMap((r) => r.findings.map(([fault]) => fault || "unknown"))],
  ];
  const MOST = 16; // values, or it is no choice but a list
  function facet([key, of]) {
    const counts = new Map();
    for (const f of found) for (const v of new Set(of(f))) counts.set(v, (counts.get(v) ?? 0) + 1);
    if (counts.size < 2 || counts.size > MOST) return [];
    const order = [...counts].sort(([a], [b]) => (key === "verdict" ? data.verdicts.indexOf(a) - data.verdicts.indexOf(b) : typeof a === "number" ? a - b : 0));
    return [el("dt", {}, key), el("dd", {}, ...order.map(([v, n]) => button(
      [key === "verdict" ? sign(SIGNS[v] + " ") : null, name(v), " ", el("small", {}, count(n))].filter(Boolean),
      () => add(`${key}:${language.quoted(String(v))}`), { class: `facet${key === "verdict" ? ` v-${v}` : ""}` })))];
  }

  // ---- the list ----

  const status = el("span", { role: "status" });
  const body = el("tbody");
  const COLUMNS = [
    ["Case", (f) => f.case.id], ["Activation", (f) => f.case.activation], ["Depth", (f) => f.case.depth], ["Batch", (f) => f.case.batch],
    ["Dtype", (f) => f.case.dtype], ["Family", (f) => f.case.family], ["Ratio", (f) => -size(f.worst)], ["Verdicts", (f) => f.rank],
  ];
  let sorted = { by: null, down: false }; // by null: the worst verdict first, then the largest ratio
  let page = 0;
  let row = 0; // the one row of the page that Tab reaches
  let found = [];

  function refresh() {
    const parsed = language.parse(search.value, data), matches = language.filter(parsed, data);
    found = data.cases.map(matches).filter(Boolean);
    const order = (key, flip) => (a, b) => { const x = key(a), y = key(b); return x < y ? -flip : x > y ? flip : 0; };
    if (sorted.by) found.sort(order(sorted.by, sorted.down ? -1 : 1));
    else found.sort((a, b) => a.rank - b.rank || order((f) => -size(f.worst), 1)(a, b));
    problems.replaceChildren(...parsed.problems.map(told));
    search.setAttribute("aria-invalid", String(parsed.problems.length > 0));
    narrow.replaceChildren(...FACETS.flatMap(facet));
    clear.disabled = !search.value;
    page = row = 0;
    draw();
  }
  function draw({ all = false } = {}) {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    body.replaceChildren(...(all ? found : found.slice(page * PAGE, (page + 1) * PAGE)).map(drawn));
    status.textContent = `${count(found.length)} of ${count(data.cases.length)} cases${all ? "" : `, page ${page + 1} of ${pages}`}`;
    back.disabled = page === 0;
    next.disabled = page === pages - 1;
  }
  function drawn({ case: c, worst }, i) {
    const by = new Map(c.results.map((r) => [r.implementation, r.verdict]));
    return el("tr", {}, el("th", { scope: "row" }, el("a", { class: "case", href: link(c), tabindex: i === row ? "0" : "-1" }, name(c.id))),
      el("td", { title: c.activation }, name(c.activation)), el("td", { class: "right" }, String(c.depth)), el("td", { class: "right" }, String(c.batch)),
      el("td", {}, name(c.dtype)), el("td", { title: c.family }, name(c.family)), el("td", { class: "right" }, worst < 0 ? "–" : ratio(worst)),
      ...data.implementations.map((i) => {
        const v = by.get(i);
        return v ? el("td", { class: `verdict v-${v}`, title: v }, sign(SIGNS[v]), el("span", { class: "hidden" }, v)) : el("td", {});
      }));
  }
  // Puts the focus on a case of the list, on whatever page it is.
  function goTo(at) {
    if (!found.length) return;
    at = Math.min(Math.max(at, 0), found.length - 1);
    row = at % PAGE;
    if (page !== Math.floor(at / PAGE)) page = Math.floor(at / PAGE);
    draw();
    body.rows[row].querySelector("a").focus();
  }
  window.addEventListener("beforeprint", () => draw({ all: true }));
  window.addEventListener("afterprint", () => draw());
  const turn = (by) => () => { page += by; row = 0; draw(); };
  const back = button("← Page", turn(-1));
  const next = button("Page →", turn(1));
  const clear = button("Clear", () => choose(""));

  function heading([label, key], i) {
    const span = i === COLUMNS.length - 1 ? { colspan: Math.max(1, data.implementations.length), scope: "colgroup", rowspan: 1 } : { scope: "col", rowspan: 2 };
    const th = el("th", span, button(label, () => {
      sorted = { by: key, down: sorted.by === key && !sorted.down };
      for (const other of th.parentNode.children) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      refresh();
    }));
    return th;
  }

  // ---- keys ----

  const single = el("input", { type: "checkbox", id: "single-keys", onchange: () => keep("keys", single.checked ? "" : "off") });
  single.checked = recall("keys") !== "off";
  const KEYS = [
    ["/", "the filter"], ["j k", "the next and the previous case, in the list and in an open case"], ["↓ ↑ Home End", "the same within the list"],
    ["Enter", "opens the case; in the filter, goes to the first one"], ["Esc", "closes what is open; empties the filter"], ["?", "these keys"],
  ];
  const EXAMPLES = [
    ["verdict:deviates", "some result deviates"], ["verdict:!conforms", "some result has another verdict"],
    ["implementation:torch-cpu verdict:deviates", "torch-cpu deviates: both hold of one result"], ["activation:gelu* depth:>=3", "names that begin with gelu, three layers or more"],
    ["gate:step layer:>3 ratio:>0.5", "one record: step gate, after layer 3, more than half its tolerance"], ["batch:1,7 !dtype:float32", "either batch, and not float32"],
    ["overflow \"out of memory\"", "words in the id, the reason, a message; in quotes, together"],
  ];
  function showKeys() {
    const rows = (pairs, use) => el("tbody", {}, ...pairs.map(([k, what]) => el("tr", {}, el("th", { scope: "row" }, use(k)), el("td", {}, what))));
    const example = (text) => button(el("code", {}, text), () => { help.close(); choose(text); }, { class: "facet" });
    help.replaceChildren(
      el("div", { class: "bar-top" }, el("h2", { id: "help-heading", tabindex: "-1" }, "Keys and the filter"), button("Close", () => help.close())),
      el("table", {}, el("caption", {}, "Keys"), rows(KEYS, (k) => el("kbd", {}, k))),
      el("p", {}, el("label", { for: "single-keys" }, single, " single keys (/ j k ?) do this")),
      el("table", {}, el("caption", {}, "The filter: every term must hold; ! turns one round; > >= < <= compare; a comma is “or”; a * ends a beginning"), rows(EXAMPLES, example)),
      el("p", {}, "Keys that it knows: ", ...language.KEYS.flatMap((k, i) => [i ? ", " : "", el("code", {}, k)]), "."));
    help.showModal();
    document.getElementById("help-heading").focus();
  }
  function step(by) {
    if (dialog.open) return stepTo(found.findIndex((f) => f.case === current) + by);
    const at = page * PAGE + row;
    goTo(body.contains(document.activeElement) ? at + by : at);
  }
  const ACTIONS = { j: () => step(1), k: () => step(-1), "/": () => { if (!dialog.open) { search.focus(); search.select(); } }, "?": () => { if (!help.open && !dialog.open) showKeys(); } };
  const WITHIN = { ArrowDown: () => step(1), ArrowUp: () => step(-1), Home: () => goTo(page * PAGE), End: () => goTo(page * PAGE + body.rows.length - 1) };
  document.addEventListener("keydown", (e) => {
    if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || e.target.matches?.("input, select, textarea")) return;
    if (help.open && e.key !== "?") return;
    const action = body.contains(e.target) && Object.hasOwn(WITHIN, e.key) ? WITHIN[e.key] : single.checked && Object.hasOwn(ACTIONS, e.key) ? ACTIONS[e.key] : null;
    if (!action) return;
    e.preventDefault();
    action();
  });

  document.getElementById("cases-list").append(
    el("form", { class: "filters", role: "search", onsubmit: (e) => e.preventDefault() },
      el("label", { class: "grow" }, "Filter", search), clear, button("Keys and terms", showKeys)),
    el("p", { class: "aside", id: "filter-help" }, "Words, and terms such as implementation:torch-cpu verdict:!conforms layer:>3 ratio:>0.5; all must hold. / comes here, ? explains."),
    el("div", { id: "filter-problems", role: "status" }, problems), narrow,
    el("div", { class: "pages" }, back, next, status),
    box("Cases", el("table", { class: "list" }, el("caption", {}, "The worst verdict first, then the largest ratio. A heading sorts, a case opens its layers."),
      el("thead", {}, el("tr", {}, ...COLUMNS.map(heading)), el("tr", {}, ...data.implementations.map((i, k) => el("th", { scope: "col", class: "upright", title: i }, name(data.called[k]))))), body)));
  note.remove();
  document.documentElement.classList.add("js");
  filterBy("q" in asked() || "case" in asked() ? "" : recall("filter"));
  window.addEventListener("popstate", () => follow(true));
  follow(false);
  performance.mark("conformance-listed");
})();
