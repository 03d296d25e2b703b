#!/usr/bin/env node
// The program: command line in, exit code out. Everything else is cli/, and loaded behind the look at the version only: an older
// Node cannot even parse it, and would answer with a SyntaxError.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 24 || (major === 24 && minor < 12)) {
  console.error(`doorward needs Node 24.12 or later; this is ${process.versions.node}`);
  process.exitCode = 1;
} else {
  const [{ runCli }, { processTerminal }] = await Promise.all([
    import('./cli/program.ts'),
    import('./cli/terminal.ts'),
  ]);
  process.exitCode = await runCli(process.argv.slice(2), processTerminal(process.env));
}
