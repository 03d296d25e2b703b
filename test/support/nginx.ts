// A real nginx as a process of its own, on free ports.
import { type Daemon, startDaemon } from './daemon.ts';

/** A running nginx. */
export type Nginx = Daemon;

/** Starts nginx on a free port; `http` gives what stands in its http block for that port. */
export function startNginx(http: (listen: string) => string): Promise<Nginx> {
  return startDaemon({
    command: 'nginx',
    versionFlag: '-v',
    logFile: 'error.log',
    configure: ({ port, file, dir }) => ({
      text: nginxConfig(dir, http(`listen 127.0.0.1:${port}`)),
      args: ['-p', dir, '-e', `${dir}/error.log`, '-c', file, '-g', 'daemon off;'],
    }),
  });
}

/** A whole nginx.conf around what stands in its http block; everything that nginx writes is below `dir`. */
export function nginxConfig(dir: string, http: string): string {
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/${name};`);
  const main = `worker_processes 1; pid ${dir}/pid; error_log ${dir}/error.log; events { worker_connections 4096; }`;
  return `${main}\nhttp { access_log off; ${paths.join(' ')}\n${http}\n}\n`;
}
