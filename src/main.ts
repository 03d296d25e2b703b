#!/usr/bin/env node
// The program: command line in, exit code out. Everything else is cli/.
import { runCli } from './cli/program.ts';
import { processTerminal } from './cli/terminal.ts';

process.exitCode = await runCli(process.argv.slice(2), processTerminal(process.env));
