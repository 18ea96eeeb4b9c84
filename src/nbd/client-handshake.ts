import type { ByteStream } from '../io/byte-stream.ts';
import { NbdProtocolError, readU16 } from './codec.ts';
import {
  HandshakeFlag,
  InfoType,
  Option,
  OptionReply,
  optionReplyHeaderBytes,
  payloadBytesMax,
  serverHelloBytes,
  TransmissionFlag,
} from './constants.ts';
import {
  type BlockSizeInfo,
  decodeInfoBlockSize,
  decodeInfoExport,
  decodeMetaContext,
  decodeOptionReplyHeader,
  decodeServerHello,
  type ExportInfo,
  encodeClientFlags,
  encodeInfoRequest,
  encodeMetaContextRequest,
  encodeOption,
} from './handshake-codec.ts';
import type { StreamReader } from './stream-reader.ts';

/** What a server told about its export. */
export interface RemoteExport {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly flush: boolean;
  readonly fua: boolean;
  readonly multiConn: boolean;
  readonly rotational: boolean;
  readonly trim: boolean;
  readonly writeZeroes: boolean;
  readonly fastZeroes: boolean;
  readonly structuredReplies: boolean;
  /** Reads may be asked for in one piece. */
  readonly onePiece: boolean;
  /** The id of `base:allocation`, where BLOCK_STATUS can be asked for it. */
  readonly allocationId: number | undefined;
  readonly minimumBlockBytes: number;
  readonly preferredBlockBytes: number;
  readonly maximumPayloadBytes: number;
}

/** A server that sends more replies to one option makes no sense. */
const replyCountMax = 64;
const replyDataBytesMax = 16 * 1024;

const allocation = 'base:allocation';

/** "a client SHOULD assume a default minimum block size of 1, a preferred block size of 2^12 (4,096)" */
const defaultBlockSizes: BlockSizeInfo = {
  minimumBytes: 1,
  preferredBytes: 4096,
  maximumBytes: payloadBytesMax,
};

/** One reply to an option: not an error. */
interface OptionAnswer {
  readonly type: number;
  readonly data: Uint8Array;
}

/**
 * The client's side of the fixed newstyle handshake, by GO. `wantsStructured`: ask for structured replies, which not every client
 * understands. Rejects with `NbdProtocolError` when there is no export.
 */
export async function shakeHands(
  stream: ByteStream,
  reader: StreamReader,
  exportName: string,
  wantsStructured = true,
): Promise<RemoteExport> {
  return await new ClientHandshake(stream, reader, exportName).run(wantsStructured);
}

class ClientHandshake {
  readonly #stream: ByteStream;
  readonly #reader: StreamReader;
  readonly #exportName: string;
  readonly #nameBytes: Uint8Array;

  constructor(stream: ByteStream, reader: StreamReader, exportName: string) {
    this.#stream = stream;
    this.#reader = reader;
    this.#exportName = exportName;
    this.#nameBytes = new TextEncoder().encode(exportName);
  }

  /** Option by option: not every server takes them in a row. */
  async run(wantsStructured: boolean): Promise<RemoteExport> {
    const handshakeFlags = decodeServerHello(await this.#taken(serverHelloBytes));
    if ((handshakeFlags & HandshakeFlag.fixedNewstyle) === 0) {
      throw new NbdProtocolError('the NBD server does not speak fixed newstyle');
    }
    const clientFlags = HandshakeFlag.fixedNewstyle | (handshakeFlags & HandshakeFlag.noZeroes);
    await this.#stream.send([encodeClientFlags(clientFlags)]);
    const structuredReplies =
      wantsStructured && (await this.#ask(Option.structuredReply, new Uint8Array())) !== undefined;
    const allocationId = structuredReplies ? await this.#chooseAllocation() : undefined;
    return await this.#go(structuredReplies, allocationId);
  }

  /** The id of the context; undefined where the server has none. */
  async #chooseAllocation(): Promise<number | undefined> {
    const answers = await this.#ask(
      Option.setMetaContext,
      encodeMetaContextRequest(this.#nameBytes, [allocation]),
    );
    for (const { type, data } of answers ?? []) {
      if (type !== OptionReply.metaContext) continue;
      const { id, name } = decodeMetaContext(data);
      if (name === allocation) return id;
    }
    return undefined;
  }

  async #go(structuredReplies: boolean, allocationId: number | undefined): Promise<RemoteExport> {
    const request = encodeInfoRequest({ exportName: this.#nameBytes, infoTypes: [InfoType.blockSize] });
    const answers = await this.#ask(Option.go, request, (type, data) => {
      throw new NbdProtocolError(refusal(this.#exportName, type, data));
    });
    let exported: ExportInfo | undefined;
    let sizes = defaultBlockSizes;
    for (const { type, data } of answers ?? []) {
      const infoType = type === OptionReply.info && data.length >= 2 ? readU16(data, 0) : -1;
      if (infoType === InfoType.export) exported = decodeInfoExport(data);
      if (infoType === InfoType.blockSize) sizes = decodeInfoBlockSize(data);
    }
    if (exported === undefined) throw new NbdProtocolError('the NBD server accepted GO without INFO_EXPORT');
    return describe(exported, sizes, structuredReplies, allocationId);
  }

  /** The answers before ACK; undefined when the server refuses, which `onRefused` may throw about. */
  async #ask(
    option: number,
    data: Uint8Array,
    onRefused: (type: number, data: Uint8Array) => void = () => undefined,
  ): Promise<readonly OptionAnswer[] | undefined> {
    await this.#stream.send([encodeOption(option, data)]);
    const answers: OptionAnswer[] = [];
    for (let count = 0; count < replyCountMax; count += 1) {
      const header = decodeOptionReplyHeader(await this.#taken(optionReplyHeaderBytes));
      if (header.option !== option || header.length > replyDataBytesMax) {
        throw new NbdProtocolError(
          `a reply of ${header.length} bytes to option ${header.option}, expected one to option ${option}`,
        );
      }
      const answer = { type: header.type, data: (await this.#taken(header.length)).slice() };
      if (answer.type === OptionReply.ack) return answers;
      // "all of which are denoted by having bit 31 set"
      if (answer.type >= 0x8000_0000) {
        onRefused(answer.type, answer.data);
        return undefined;
      }
      answers.push(answer);
    }
    throw new NbdProtocolError(`more than ${replyCountMax} replies to option ${option}`);
  }

  async #taken(length: number): Promise<Uint8Array> {
    const bytes = await this.#reader.take(length);
    if (bytes === undefined) throw new NbdProtocolError('the NBD server closed during the handshake');
    return bytes;
  }
}

function describe(
  exported: ExportInfo,
  sizes: BlockSizeInfo,
  structuredReplies: boolean,
  allocationId: number | undefined,
): RemoteExport {
  const has = (flag: number): boolean => (exported.transmissionFlags & flag) !== 0;
  return {
    sizeBytes: exported.sizeBytes,
    readOnly: has(TransmissionFlag.readOnly),
    flush: has(TransmissionFlag.sendFlush),
    fua: has(TransmissionFlag.sendFua),
    multiConn: has(TransmissionFlag.canMultiConn),
    rotational: has(TransmissionFlag.rotational),
    trim: has(TransmissionFlag.sendTrim),
    writeZeroes: has(TransmissionFlag.sendWriteZeroes),
    fastZeroes: has(TransmissionFlag.sendWriteZeroes) && has(TransmissionFlag.sendFastZero),
    structuredReplies,
    onePiece: structuredReplies && has(TransmissionFlag.sendDf),
    allocationId,
    minimumBlockBytes: sizes.minimumBytes,
    preferredBlockBytes: sizes.preferredBytes,
    maximumPayloadBytes: sizes.maximumBytes,
  };
}

function refusal(exportName: string, type: number, message: Uint8Array): string {
  const said = message.length === 0 ? '' : `: ${readable(message)}`;
  return `the NBD server refused the export "${exportName}" with reply 0x${type.toString(16)}${said}`;
}

/** Characters of a server's own words. */
const saidLengthMax = 200;

/** A server's words stand in a line of ours, on somebody's terminal: no second line, no commands, no book. */
function readable(message: Uint8Array): string {
  const text = new TextDecoder()
    .decode(message)
    .replaceAll(/\p{Cc}+/gu, ' ')
    .trim();
  return text.length <= saidLengthMax ? text : `${text.slice(0, saidLengthMax)}…`;
}
