// Host names and URLs as the configuration may hold them.
import ipaddr from 'ipaddr.js';

const LABEL = '[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?';
const HOST_NAME = new RegExp(`^${LABEL}(\\.${LABEL})*$`);

/** A DNS name, an IPv4 address or a bracketed IPv6 address; no port, no trailing dot, ASCII only (IDNs as xn--). */
export function isHost(text: string): boolean {
  if (text.startsWith('[')) return text.endsWith(']') && ipaddr.IPv6.isValid(text.slice(1, -1));
  return text.length <= 253 && HOST_NAME.test(text);
}

/** True for hosts that only this machine can answer for, where plain http cannot be listened to or replaced. */
export function isLoopbackHost(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '');
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  return ipaddr.isValid(name) && ipaddr.process(name).range() === 'loopback';
}

/**
 * Why keys must not be fetched from this URL, or undefined. Over plain http whoever sits between could hand us keys of
 * their own and sign any token; credentials in a URL end up in logs.
 */
export function fetchProblem(text: string): string | undefined {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) return 'needs an https:// URL';
  if (url.username || url.password) return 'must not hold credentials';
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname))
    return 'needs https:// (http:// only for loopback hosts)';
  return undefined;
}
