// Every exit code there is. Scripts rely on them, so a number never changes its meaning; `doorward --help` prints the table.

/** Exit codes by meaning. */
export const exitCodes = {
  ok: 0,
  failure: 1,
  usage: 2,
  configuration_refused: 3,
  sidecar_unreachable: 4,
  refused_by_sidecar: 5,
  not_found: 6,
  schema_refused: 7,
  workers_failed: 8,
} as const;

/** What each code means, for the help text. */
export const exitCodeMeanings: Readonly<Record<keyof typeof exitCodes, string>> = {
  ok: 'done',
  failure: 'something failed; the message says what',
  usage: 'the command line is wrong; of convert: not everything could be converted',
  configuration_refused: 'the configuration does not hold, or --production refuses it',
  sidecar_unreachable: 'no sidecar answers on the admin socket or port',
  refused_by_sidecar: 'the sidecar refused the call (token, permission, input)',
  not_found: 'the named thing does not exist',
  schema_refused: 'the PostgreSQL schema or server is not one that this release may use',
  workers_failed: 'worker processes of the sidecar ended again and again',
};

/** A failure with the exit code and the lines that explain it; never a stack trace for the user. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: keyof typeof exitCodes;
  readonly exitCode: number;

  constructor(code: keyof typeof exitCodes, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.exitCode = exitCodes[code];
  }
}
