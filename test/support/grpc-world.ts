// A real gRPC service without protocol files: messages are bytes, the four kinds of call are told apart by their path.
import {
  type ChannelCredentials,
  Client,
  type ClientUnaryCall,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';

const plain = (bytes: Buffer) => bytes;
const shape = {
  requestSerialize: plain,
  requestDeserialize: plain,
  responseSerialize: plain,
  responseDeserialize: plain,
};
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  ...shape,
});

const service = {
  unary: method('Unary', false, false),
  down: method('Down', false, true),
  up: method('Up', true, false),
  both: method('Both', true, true),
};

/** What the service saw of a call. */
export interface SeenCall {
  readonly path: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  cancelled: boolean;
}

/** A running service. */
export interface GrpcService extends AsyncDisposable {
  readonly port: number;
  readonly seen: SeenCall[];
}

type AnyCall =
  | ServerUnaryCall<Buffer, Buffer>
  | ServerWritableStream<Buffer, Buffer>
  | ServerReadableStream<Buffer, Buffer>
  | ServerDuplexStream<Buffer, Buffer>;

/** Starts it; with `tls` it speaks TLS. The message `fail` ends a unary call with an error, `hang` never answers it. */
export async function grpcService(tls?: { readonly certificate: string; readonly key: string }): Promise<GrpcService> {
  const seen: SeenCall[] = [];
  const note = (path: string, call: AnyCall) => {
    const entry: SeenCall = { path, metadata: call.metadata.getMap(), cancelled: false };
    seen.push(entry);
    (call as ServerUnaryCall<Buffer, Buffer>).on('cancelled', () => {
      entry.cancelled = true;
    });
  };
  const server = new Server();
  server.addService(service, {
    unary(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      note('unary', call);
      const text = call.request.toString();
      const trailers = new Metadata();
      trailers.set('x-cost', '7');
      if (text === 'hang') return;
      if (text === 'fail') {
        const error = { code: status.FAILED_PRECONDITION, details: 'not today', metadata: trailers };
        done(Object.assign(new Error('not today'), error));
        return;
      }
      const head = new Metadata();
      head.set('x-head', 'h');
      call.sendMetadata(head);
      done(null, Buffer.from(`echo ${text}`), trailers);
    },
    down(call: ServerWritableStream<Buffer, Buffer>) {
      note('down', call);
      const count = Number(call.request.toString());
      for (let at = 0; at < count; at += 1) call.write(Buffer.from(`message ${at}`));
      if (count > 0) call.end();
    },
    up(call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      note('up', call);
      let bytes = 0;
      call.on('data', (message: Buffer) => {
        bytes += message.length;
      });
      call.on('end', () => done(null, Buffer.from(String(bytes))));
    },
    both(call: ServerDuplexStream<Buffer, Buffer>) {
      note('both', call);
      call.on('data', (message: Buffer) => call.write(Buffer.from(`echo ${message}`)));
      call.on('end', () => call.end());
    },
  });
  const kind = tls
    ? ServerCredentials.createSsl(null, [
        { cert_chain: Buffer.from(tls.certificate), private_key: Buffer.from(tls.key) },
      ])
    : ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', kind, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return {
    port,
    seen,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  };
}

/** What a unary call came to. */
export interface UnaryOutcome {
  readonly code: number;
  readonly details: string;
  readonly text: string;
  readonly head: Readonly<Record<string, unknown>>;
  readonly trailers: Readonly<Record<string, unknown>>;
}

/** A client of the service. */
export class EchoClient extends Client implements Disposable {
  constructor(address: string, ca?: string, options = {}) {
    const channel: ChannelCredentials =
      ca === undefined ? credentials.createInsecure() : credentials.createSsl(Buffer.from(ca));
    super(address, channel, options);
  }

  /** Metadata with a token. */
  static with(token: string | undefined, more: Readonly<Record<string, string>> = {}): Metadata {
    const metadata = new Metadata();
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
    for (const [name, value] of Object.entries(more)) metadata.set(name, value);
    return metadata;
  }

  unary(text: string, metadata: Metadata, options: { deadline?: number } = {}): Promise<UnaryOutcome> {
    return new Promise((resolve) => {
      let head: Readonly<Record<string, unknown>> = {};
      let trailers: Readonly<Record<string, unknown>> = {};
      let said = '';
      let failed: ServiceError | null = null;
      const call: ClientUnaryCall = this.makeUnaryRequest(
        service.unary.path,
        plain,
        plain,
        Buffer.from(text),
        metadata,
        options,
        (error, answer) => {
          failed = error;
          said = answer?.toString() ?? '';
        },
      );
      call.on('metadata', (given: Metadata) => {
        head = given.getMap();
      });
      call.on('status', ({ code, details, metadata: given }) => {
        trailers = given.getMap();
        setImmediate(() => resolve({ code: failed?.code ?? code, details, text: said, head, trailers }));
      });
    });
  }

  down(count: number, metadata: Metadata) {
    return this.makeServerStreamRequest(service.down.path, plain, plain, Buffer.from(String(count)), metadata);
  }

  up(metadata: Metadata, done: (error: ServiceError | null, answer?: Buffer) => void) {
    return this.makeClientStreamRequest(service.up.path, plain, plain, metadata, done);
  }

  both(metadata: Metadata) {
    return this.makeBidiStreamRequest(service.both.path, plain, plain, metadata);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
