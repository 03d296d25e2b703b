// The client address: whatever trusted peers say, the answer is the peer or an address that stands in what they said, and the
// list reader and the RFC 7239 reader never throw.
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { addressReader, elementAddress, forwardedElements } from '../../../src/http/client-address.ts';
import type { Target } from '../engine.ts';

const trusted = ['127.0.0.1', '10.0.0.0/8', 'fd00::/8'];
const chains = addressReader(trusted, 'x_forwarded_for');
const elements = addressReader(trusted, 'forwarded');

/** Lines of an input are field lines. */
export const target: Target = {
  name: 'address',
  files: /src\/http\/client-address|src\/core\/address/,
  seeds: [
    '1.2.3.4, 10.0.0.1',
    'for=1.2.3.4;proto=https, for="[2001:db8::1]:80"',
    'unknown',
    '::ffff:1.2.3.4\n10.0.0.2',
    'for="_x\\"y";by=z',
    '[::1]:_hidden',
  ],
  words: [
    'for=',
    '"',
    '\\',
    ';',
    ',',
    '\n',
    '10.0.0.1',
    '1.2.3.4',
    '[::1]',
    ':80',
    ':_x',
    'unknown',
    '::ffff:10.0.0.1',
    'FOR=',
    'proto=',
    ' ',
    '\t',
    '0x7f.1',
    '256.1.1.1',
    'fe80::1%eth0',
  ],
  maxBytes: 300,
  check(input) {
    const lines = input.toString('latin1').split('\n');
    const peer = chains.peer('127.0.0.1');
    for (const found of [chains.behind(peer, lines), elements.behind(peer, lines)]) {
      assert.notEqual(isIP(found.address), 0, found.address);
      assert.deepEqual(
        elementAddress(found.address),
        { address: found.address, key: found.key },
        'read the same again',
      );
    }
    // Empty elements mean nothing, but no more than 64 elements of any kind are looked at.
    const elementTexts = lines.join(',').split(',').slice(-64);
    const last = elementTexts.map((element) => element.trim()).findLast((element) => element !== '');
    const right = last === undefined ? undefined : elementAddress(last);
    // The right-most address counts unless it is a proxy of ours; nothing further left can change that.
    if (right !== undefined && !/^(?:10\.|127\.0\.0\.1$|fd)/.test(right.address)) {
      assert.equal(chains.behind(peer, lines).address, right.address);
    }
    const read = forwardedElements(lines);
    if (read !== undefined) assert.ok(read.length >= 1 && read.length <= 65);
  },
};
