// What a child process says, waited for.
import type { ChildProcess } from 'node:child_process';

/** Resolves with the first match of what the child writes to both outputs; rejects with all of it when the child ends first. */
export async function written(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
  let text = '';
  const onData = (chunk: Buffer) => {
    text += chunk;
    const match = pattern.exec(text);
    if (match !== null) resolve(match);
  };
  child.stdout?.on('data', onData);
  child.stderr?.on('data', onData);
  child.once('exit', (code) => reject(new Error(`ended with ${code}: ${text}`)));
  return promise;
}
