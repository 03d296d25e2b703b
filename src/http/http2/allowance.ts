// How much a client may send that is no request: PING, SETTINGS and WINDOW_UPDATE without end cost it nothing, and neither nghttp2 nor
// node ends a connection for them while their answers are read (CVE-2019-9512, CVE-2019-9515).

/** What one request earns: its head, and a body that nobody reads yet (the window of a stream). */
const PER_REQUEST = 131_072;
/** What a byte of a body earns: gRPC messages of one byte come in frames of ten. */
const PER_BODY_BYTE = 16;
/** Some 30,000 PINGs a second. */
const PER_MS = 512;
const AT_FIRST = 262_144;

/** The account of one connection: requests and time fill it, whatever comes in draws on it. */
export class Allowance {
  /** Add to it: bytes of bodies that were taken. */
  bodyBytes = 0;
  /** Add to it: requests that began. */
  requests = 0;
  readonly #most: number;
  #left = AT_FIRST;
  #atMs: number;
  #read = 0;
  #written = 0;

  /** `maxStreams`: requests that may be under way at once. */
  constructor(maxStreams: number, nowMs: number) {
    this.#most = AT_FIRST + maxStreams * PER_REQUEST;
    this.#atMs = nowMs;
  }

  /** Settles the account with the counts of the socket, which begin with it. False: it is overdrawn. */
  settle({ bytesRead, bytesWritten }: { bytesRead: number; bytesWritten: number }, nowMs: number): boolean {
    const read = bytesRead - this.#read;
    // Who is sent more than it sends asks for it: windows are updated for every frame of an answer. Answers to PING are as long as it.
    const isFed = (bytesWritten - this.#written) * 2 > read * 3;
    const earned = this.requests * PER_REQUEST + this.bodyBytes * PER_BODY_BYTE + (nowMs - this.#atMs) * PER_MS;
    this.#left = Math.min(this.#most, this.#left + earned - (isFed ? 0 : read));
    this.#atMs = nowMs;
    this.#read = bytesRead;
    this.#written = bytesWritten;
    this.bodyBytes = 0;
    this.requests = 0;
    return this.#left >= 0;
  }
}
