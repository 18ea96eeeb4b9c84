import assert from 'node:assert/strict';
import { test } from 'node:test';
import { looksLikeNbdUri, parseNbdUri } from '../../src/nbd/nbd-uri.ts';

test('an NBD URI names a server and an export', () => {
  for (const [uri, exportName, place] of [
    ['nbd://localhost', '', { transport: 'tcp', host: 'localhost', port: 10_809 }],
    ['nbd://10.0.0.7:2000/disk', 'disk', { transport: 'tcp', host: '10.0.0.7', port: 2000 }],
    ['nbd://[::1]:2000/a/b', 'a/b', { transport: 'tcp', host: '::1', port: 2000 }],
    ['nbd+unix:///?socket=/run/x.sock', '', { transport: 'unix', path: '/run/x.sock' }],
    ['nbd+unix:///my%20disk?socket=/tmp/a%20b', 'my disk', { transport: 'unix', path: '/tmp/a b' }],
  ] as const) {
    assert.ok(looksLikeNbdUri(uri));
    assert.deepEqual(parseNbdUri(uri), { uri, exportName, place });
  }
});

test('what cannot be served is one clear line', () => {
  for (const [uri, complaint] of [
    ['nbd:', /names no host/],
    ['nbd+unix:///disk', /names no socket, expected nbd\+unix/],
    ['nbds://host/disk', /TLS and vsock are not/],
    ['nbd://host:99999/', /is no URI/],
    ['nbd://host/%ff', /is not percent-encoded/],
  ] as const) {
    assert.ok(looksLikeNbdUri(uri), uri);
    const said = parseNbdUri(uri);
    assert.ok(typeof said === 'string', uri);
    assert.match(said, complaint);
    assert.ok(!said.includes('\n'));
  }
});

test('a path is no URI', () => {
  for (const path of ['/dev/nbd0', 'nbd.img', './nbd:x', 'disk']) assert.equal(looksLikeNbdUri(path), false);
});
