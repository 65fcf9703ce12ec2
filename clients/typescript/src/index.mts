/** The same for `import`: one implementation, so that `instanceof` holds between programs of both kinds of module. */
export * from './index.js';
