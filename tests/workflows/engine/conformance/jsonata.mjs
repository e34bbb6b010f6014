// npm's JSONata with what Step Functions adds to it and takes away: reads a JSON array of {source, bindings, millis, uuid}
// from stdin, and writes an array of {value}, {undefined: true} or {error}. The one argument is the folder of the package.
// Source of the functions: Step Functions Developer Guide, "JSONata functions provided by Step Functions".
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const jsonata = createRequire(import.meta.url)(process.argv[2]);
const hashes = { "MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512" };

function partition(array, size) {
  const parts = [];
  for (let first = 0; first < array.length; first += size) parts.push(array.slice(first, first + size));
  return parts;
}

function range(first, last, step) {
  const found = jsonata.createSequence ? jsonata.createSequence() : [];
  for (let value = first; step > 0 ? value <= last : value >= last; value += step) found.push(value);
  return found.length === 1 ? found[0] : found;
}

function hash(data, algorithm) {
  if (!(algorithm in hashes)) throw new Error(`no such algorithm: ${algorithm}`);
  return createHash(hashes[algorithm]).update(typeof data === "string" ? data : JSON.stringify(data)).digest("hex");
}

async function answer({ source, bindings, millis, uuid }) {
  try {
    const expression = jsonata(source);
    expression.assign("eval", undefined);
    expression.assign("partition", partition);
    expression.assign("range", range);
    expression.assign("hash", hash);
    expression.assign("parse", (text) => JSON.parse(text));
    expression.assign("random", () => 0.5);
    expression.assign("uuid", () => uuid);
    expression.assign("millis", () => millis);
    expression.assign("now", () => new Date(millis).toISOString());
    const value = await expression.evaluate(undefined, bindings);
    if (typeof value === "function" || value?._jsonata_lambda) return { error: "a function" };
    return value === undefined ? { undefined: true } : { value };
  } catch (error) {
    return { error: `${error.code ?? ""} ${error.message}` };
  }
}

const asked = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await Promise.all(asked.map(answer))));
