// A certificate authority for tests, made by the openssl program: server and client certificates with the names one asks for.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureCommand } from './system-packages.ts';

/** PEM of a certificate and its key. */
export interface TestCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** An authority. */
export interface TestAuthority extends Disposable {
  readonly certificate: string;
  /** `alternative`: `DNS:localhost,IP:127.0.0.1`; `use`: serverAuth or clientAuth; `days`: -1 for one that has expired. */
  issue(commonName: string, alternative: string, use: 'serverAuth' | 'clientAuth', days?: number): TestCertificate;
}

/** Makes one. */
export function testAuthority(): TestAuthority {
  ensureCommand('openssl', 'version');
  const folder = mkdtempSync(join(tmpdir(), 'doorward-ca-'));
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-days',
    '2',
    '-subj',
    '/CN=Doorward test CA',
  );
  let serial = 0;
  return {
    certificate: readFileSync(join(folder, 'ca.pem'), 'utf8'),
    issue(commonName, alternative, use, days = 1) {
      serial += 1;
      const name = `c${serial}`;
      openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${commonName}`);
      writeFileSync(join(folder, `${name}.ext`), `subjectAltName=${alternative}\nextendedKeyUsage=${use}\n`);
      const signed = [
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
        '-set_serial',
        String(serial),
        '-days',
        String(days),
        '-extfile',
        `${name}.ext`,
      ];
      openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...signed);
      const read = (suffix: string) => readFileSync(join(folder, `${name}.${suffix}`), 'utf8');
      return { certificate: read('pem'), key: read('key') };
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
