"use strict";
// The language of the filter: words, and terms like `depth:>=3`. docs/report.md explains it.
const language = (() => {
  const OF_CASE = ["activation", "output", "depth", "batch", "width", "dtype", "loss", "family", "bias", "seed"];
  const OF_RESULT = ["implementation", "verdict", "fault", "blame", "known"];
  const OF_RECORD = ["layer", "gate", "quantity", "ratio", "ulps"];
  const KEYS = [...OF_RESULT, ...OF_CASE, ...OF_RECORD];
  const NUMBERS = new Set(["depth", "batch", "width", "seed", "layer", "ratio", "ulps"]);

  const of = {
    implementation: (r) => [r.implementation],
    verdict: (r) => [r.verdict],
    fault: (r) => r.findings.map(([fault]) => fault || "unknown"),
    blame: (r) => r.blame.map(([quantity]) => quantity),
    known: (r) => r.known,
    activation: (c) => [c.activation],
    output: (c) => [c.output],
    depth: (c) => [c.depth],
    batch: (c) => [c.batch],
    width: (c) => c.widths,
    dtype: (c) => [c.dtype],
    loss: (c) => [c.loss],
    family: (c) => [c.family],
    bias: (c) => [c.bias ? "yes" : "no"],
    seed: (c) => [c.seed],
    layer: ([, layer]) => [layer],
    gate: ([, , gate]) => [gate],
    quantity: ([quantity]) => [quantity],
  };

  // The names that a key can have in these results, each once, in order of appearance.
  function names(data, key) {
    if (key === "verdict") return data.verdicts;
    if (OF_CASE.includes(key)) return [...new Set(data.cases.flatMap(of[key]))];
    if (OF_RESULT.includes(key)) return [...new Set(data.cases.flatMap((c) => c.results.flatMap(of[key])))];
    return [...new Set(data.shapes.flatMap((shape) => shape.flatMap(of[key])))];
  }

  // Letters to add, drop, replace or swap with their neighbour.
  function distance(a, b) {
    const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
    for (let i = 1; i <= a.length; i++) {
      const row = [i], above = rows[i - 1];
      for (let j = 1; j <= b.length; j++) {
        const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
        row.push(Math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] !== b[j - 1]), swapped ? rows[i - 2][j - 2] + 1 : Infinity));
      }
      rows.push(row);
    }
    return rows[a.length][b.length];
  }
  function nearest(name, known) {
    const score = (x) => (name && x.startsWith(name) ? 0 : distance(name, x.slice(0, 80)));
    const [best, x] = known.map((x) => [score(x.toLowerCase()), x]).sort(([a], [b]) => a - b)[0] ?? [Infinity];
    return best <= Math.max(2, name.length / 2) ? x : undefined;
  }

  // ---- text to terms ----

  const VALUE = String.raw`"(?:\\.|[^"\\])*"?|[^\s"]\S*`;
  const TERM = new RegExp(String.raw`\s*(!?)(?:([\p{L}_-]+):)(!|>=|<=|=|>|<)?(${VALUE})?`, "uy");
  const WORD = new RegExp(String.raw`\s*(!?)(${VALUE})`, "uy");
  const literal = (text) => (text[0] !== '"' ? text : text.slice(1).replace(/\\(.)|"$/gs, (_, c) => ({ n: "\n", r: "\r" })[c] ?? c ?? ""));
  const quoted = (text) => (/^[\p{L}\p{N}_.+@/-]+$/u.test(text) ? text
    : `"${text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\r", "\\r")}"`);
  const number = (text) => (/^[-+]?(\d|\.\d)/.test(text) ? Number(text) : { inf: Infinity, "∞": Infinity, nan: NaN }[text]);

  function parse(text, data) {
    const found = { terms: [], words: [], problems: [] };
    for (let at = 0; text.slice(at).trim();) {
      TERM.lastIndex = WORD.lastIndex = at;
      const term = TERM.exec(text), m = term ?? WORD.exec(text);
      at += m[0].length;
      if (term) read(m, found, data);
      else if (literal(m[2]) && m[0].trim() !== "!") found.words.push({ negated: !!m[1], text: literal(m[2]).toLowerCase() });
    }
    return found;
  }

  function read([whole, negated, key, op = "=", value = ""], found, data) {
    const problem = (said, known, fix, nothing = false) => found.problems.push({ text: whole.trim(), said, known, fix, nothing });
    const name = key.toLowerCase(), got = value.startsWith('"') ? [literal(value)] : value.split(",").filter(Boolean);
    if (!KEYS.includes(name)) {
      const near = nearest(name, KEYS);
      problem(`there is no key “${key}”; text with a colon goes in quotes`, KEYS, near && `${negated}${near}:${op === "=" ? "" : op}${value}`);
    } else if (NUMBERS.has(name)) {
      const values = got.map((x) => number(x.toLowerCase()));
      if (!got.length || values.some((x) => x === undefined || (Number.isNaN(x) && !got.some((g) => /^nan$/i.test(g)))))
        problem(`${name} is a number, got “${value}”`, [`${name}:3`, `${name}:>=3`, `${name}:!3`]);
      else found.terms.push({ key: name, op, negated: !!negated !== (op === "!"), test: numeric(op, values) });
    } else if (op !== "=" && op !== "!") problem(`${name} has names and no order, got “${op}”`, names(data, name));
    else named(name, op, got, value, !!negated, found, data, problem);
  }

  const ORDER = { ">": (x, v) => x > v, ">=": (x, v) => x >= v, "<": (x, v) => x < v, "<=": (x, v) => x <= v };
  function numeric(op, values) {
    const is = ORDER[op] ?? ((x, v) => x === v || (Number.isNaN(x) && Number.isNaN(v)));
    const above = op[0] === ">"; // a NaN is as bad as it gets
    return (x) => values.some((v) => is(above && Number.isNaN(x) ? Infinity : x, v));
  }

  function named(key, op, got, value, negated, found, data, problem) {
    const known = names(data, key), lower = new Set(known.map((x) => x.toLowerCase()));
    const symbols = Object.entries(data.quantities).map(([q, symbol]) => [symbol.toLowerCase(), q.toLowerCase()]);
    const alias = key === "quantity" || key === "blame" ? new Map(symbols) : new Map();
    const wanted = got.map((x) => x.toLowerCase()).map((x) => (lower.has(x) ? x : alias.get(x) ?? x));
    const starts = value.startsWith('"') ? [] : wanted.filter((x) => x.endsWith("*")).map((x) => x.slice(0, -1));
    const bad = wanted.find((x) => !lower.has(x) && !starts.some((s) => x === s + "*" && [...lower].some((k) => k.startsWith(s))));
    if (!wanted.length) problem(`${key}: and then a name`, known);
    else if (bad !== undefined) {
      const near = nearest(bad, known);
      const said = known.length ? `no ${key} is “${bad}” here` : `nothing here has a ${key}`;
      const nothing = !known.length || key === "fault" || key === "known"; // what another run may have is no slip of the pen
      if (nothing) found.terms.push({ key, negated: negated !== (op === "!"), test: () => false });
      problem(said, known, near === undefined ? undefined : `${negated ? "!" : ""}${key}:${op === "=" ? "" : op}${quoted(near)}`, nothing);
    } else {
      const test = (x) => wanted.includes(x.toLowerCase()) || starts.some((s) => x.toLowerCase().startsWith(s));
      found.terms.push({ key, negated: negated !== (op === "!"), test });
    }
  }

  // ---- terms to a filter ----

  const holds = (term, x) => of[term.key](x).some(term.test) !== term.negated;

  // The filter of a case: null, or {case, worst, rank} from its results that match. The terms of a result
  // must hold of one result, those of a record of one of its records.
  function filter(parsed, data) {
    const terms = (keys) => parsed.terms.filter((t) => keys.includes(t.key));
    const ofCase = terms(OF_CASE), ofResult = terms(OF_RESULT), ofShape = terms(["layer", "gate", "quantity"]);
    const values = terms(["ratio", "ulps"]), byRecord = ofShape.length + values.length > 0;
    const some = new Map(); // shape -> the places of its records that match
    const places = (shape) => {
      if (!some.has(shape)) some.set(shape, shape.flatMap((key, k) => (ofShape.every((t) => holds(t, key)) ? [k] : [])));
      return some.get(shape);
    };
    const worst = (r) => {
      if (!byRecord) return r.worst ? r.worst.ratio : -1;
      let most = -2;
      for (const k of places(r.shape)) {
        if (values.every((t) => t.test(t.key === "ratio" ? data.ratio(r, k) : data.ulps(r, k)) !== t.negated)) {
          const x = data.ratio(r, k);
          most = Number.isNaN(x) || Number.isNaN(most) ? NaN : Math.max(most, x);
        }
      }
      return most;
    };
    return (c) => {
      if (!ofCase.every((t) => holds(t, c)) || !parsed.words.every((w) => data.text(c).includes(w.text) !== w.negated)) return null;
      const found = { case: c, results: [], worst: -1, rank: data.verdicts.length };
      let matched = ofResult.length === 0 && !byRecord;
      for (const r of c.results) {
        if (!ofResult.every((t) => holds(t, r))) continue;
        const most = worst(r);
        if (most === -2) continue;
        matched = true;
        found.results.push(r);
        found.worst = Number.isNaN(most) || Number.isNaN(found.worst) ? NaN : Math.max(found.worst, most);
        found.rank = Math.min(found.rank, data.verdicts.indexOf(r.verdict));
      }
      return matched ? found : null;
    };
  }

  return { KEYS, parse, filter, quoted };
})();
