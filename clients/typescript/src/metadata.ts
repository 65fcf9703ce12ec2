/**
 * Metadata — checks that a message's JSON metadata arrives unchanged.
 *
 * The contract carries it as a google.protobuf.Struct, whose numbers are doubles, as JavaScript's are. As in
 * JSON.stringify, properties that are undefined are left out.
 */

import { invalidArgument, type MailroomError } from './errors.js';
import type { JsonObject, JsonValue } from './messages.js';

const MAX_DEPTH = 32; // levels, counting the object itself; the contract's limit

/** Returns a copy of the metadata; throws METADATA_INVALID or METADATA_TOO_DEEP. */
export function checkedMetadata(metadata: Readonly<Record<string, unknown>>): JsonObject {
  return checkedObject(metadata, 1);
}

function checkedObject(object: object, depth: number): JsonObject {
  checkDepth(depth);
  const copy: JsonObject = {};
  for (const [key, value] of Object.entries(object)) {
    if (value === undefined) continue;
    checkText(key);
    // An assignment to the key __proto__ would set the prototype.
    Object.defineProperty(copy, key, {
      value: checkedValue(value, depth + 1),
      configurable: true,
      enumerable: true,
      writable: true,
    });
  }
  return copy;
}

function checkedValue(value: unknown, depth: number): JsonValue {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string') return checkText(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw invalid(`contains ${value}, which JSON does not support`);
    return value;
  }
  if (Array.isArray(value)) {
    checkDepth(depth);
    return value.map((item) => checkedValue(item, depth + 1));
  }
  if (typeof value === 'object' && isPlain(value)) return checkedObject(value, depth);
  throw invalid(`contains a value of type ${typeName(value)}, which JSON does not support`);
}

function checkDepth(depth: number): void {
  if (depth > MAX_DEPTH) throw invalid(`is nested deeper than ${MAX_DEPTH} levels`, 'METADATA_TOO_DEEP');
}

function checkText(text: string): string {
  if (!text.isWellFormed()) throw invalid('contains text that is not valid Unicode');
  return text;
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function typeName(value: unknown): string {
  return typeof value === 'object' && value !== null ? value.constructor.name : typeof value;
}

function invalid(problem: string, reason = 'METADATA_INVALID'): MailroomError {
  return invalidArgument(`metadata ${problem}`, reason, 'metadata');
}
