import type { ByteStream } from '../io/byte-stream.ts';
import { hex, NbdProtocolError, readU32 } from './codec.ts';
import {
  clientFlagsBytes,
  HandshakeFlag,
  InfoType,
  Option,
  OptionReply,
  optionHeaderBytes,
  stringBytesMax,
} from './constants.ts';
import type { ExportDescription } from './export-description.ts';
import {
  decodeInfoRequest,
  decodeOptionHeader,
  encodeExportNameAnswer,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  encodeOptionReply,
  encodeServerHello,
  encodeServerName,
  type OptionHeader,
} from './handshake-codec.ts';
import { discardedOptionBytesMax, optionBytesMax, optionCountMax } from './limits.ts';
import type { StreamReader } from './stream-reader.ts';

/** Bytes that a `StreamReader` for the handshake must be able to take at once. */
export const handshakeBufferBytes: number = optionHeaderBytes + optionBytesMax;

/** How a handshake went on after one option. */
type Next = 'option' | 'transmission' | 'end';

/**
 * The server's side of the fixed newstyle handshake for one export. Resolves to the description that holds when the
 * transmission phase begins: `unaligned` for a client that never asked for block sizes, where there is one; undefined when
 * the client left. Throws `NbdProtocolError` when the client must be dropped, `StreamError` when the connection broke.
 */
export async function serveHandshake(
  stream: ByteStream,
  reader: StreamReader,
  exported: ExportDescription,
  unaligned: ExportDescription = exported,
): Promise<ExportDescription | undefined> {
  return await new Handshake(stream, reader, exported, unaligned).run();
}

class Handshake {
  readonly #stream: ByteStream;
  readonly #reader: StreamReader;
  readonly #exported: ExportDescription;
  readonly #unaligned: ExportDescription;
  readonly #exportName: Uint8Array;
  #fixedNewstyle = false;
  #noZeroes = false;
  #askedForBlockSizes = false;

  constructor(
    stream: ByteStream,
    reader: StreamReader,
    exported: ExportDescription,
    unaligned: ExportDescription,
  ) {
    this.#stream = stream;
    this.#reader = reader;
    this.#exported = exported;
    this.#unaligned = unaligned;
    this.#exportName = new TextEncoder().encode(exported.name);
  }

  async run(): Promise<ExportDescription | undefined> {
    await this.#stream.send([encodeServerHello(HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes)]);
    const flags = await this.#reader.take(clientFlagsBytes);
    if (flags === undefined) return undefined;
    this.#acceptClientFlags(readU32(flags, 0));
    for (let count = 0; count < optionCountMax; count += 1) {
      const header = await this.#reader.take(optionHeaderBytes);
      if (header === undefined) return undefined;
      const next = await this.#serveOption(decodeOptionHeader(header));
      if (next === 'transmission') return this.#agreed;
      if (next === 'end') return undefined;
    }
    throw new NbdProtocolError(`sent more than ${optionCountMax} options`);
  }

  /** R11: who knows the block sizes keeps to them; all others send sectors. */
  get #agreed(): ExportDescription {
    return this.#askedForBlockSizes ? this.#exported : this.#unaligned;
  }

  #acceptClientFlags(flags: number): void {
    // "If the client sets an unknown flag ... the server MUST drop the TCP session."
    const unknown = flags & ~(HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes);
    if (unknown !== 0) throw new NbdProtocolError(`set unknown client flags: 0x${hex(flags)}`);
    this.#fixedNewstyle = (flags & HandshakeFlag.fixedNewstyle) !== 0;
    this.#noZeroes = (flags & HandshakeFlag.noZeroes) !== 0;
  }

  async #serveOption(header: OptionHeader): Promise<Next> {
    const { option, length } = header;
    // "This is the only valid option in nonfixed newstyle negotiation."
    if (!this.#fixedNewstyle && option !== Option.exportName) {
      throw new NbdProtocolError(`sent option ${option} without the fixed newstyle flag`);
    }
    if (length > optionBytesMax) return await this.#refuseLongOption(header);
    const data = await this.#reader.take(length);
    if (data === undefined) return 'end';
    switch (option) {
      case Option.exportName:
        return await this.#chooseExport(data);
      case Option.abort:
        // "the server SHOULD gracefully handle the client sending an NBD_OPT_ABORT": with data or without.
        await this.#reply(encodeOptionReply(option, OptionReply.ack));
        return 'end';
      case Option.list:
        return await this.#list(data);
      case Option.info:
      case Option.go:
        return await this.#inform(option, data);
      default:
        return await this.#refuse(
          option,
          OptionReply.errorUnsupported,
          'this server does not know the option',
        );
    }
  }

  async #refuseLongOption({ option, length }: OptionHeader): Promise<Next> {
    if (option === Option.exportName || length > discardedOptionBytesMax) {
      throw new NbdProtocolError(
        `sent option ${option} with ${length} bytes, at most ${optionBytesMax} are read`,
      );
    }
    if (!(await this.#reader.skip(length))) return 'end';
    return await this.#refuse(option, OptionReply.errorTooBig, `at most ${optionBytesMax} bytes are read`);
  }

  /** EXPORT_NAME can only succeed or drop the connection: it has no error reply. */
  async #chooseExport(name: Uint8Array): Promise<Next> {
    if (!this.#knows(name)) throw new NbdProtocolError(`asked for ${quoted(name)}, ${this.#whatThereIs()}`);
    await this.#reply(encodeExportNameAnswer(this.#agreed, this.#noZeroes));
    return 'transmission';
  }

  async #list(data: Uint8Array): Promise<Next> {
    if (data.length > 0) {
      return await this.#refuse(Option.list, OptionReply.errorInvalid, 'LIST carries no data');
    }
    const description = new TextEncoder().encode(this.#exported.description);
    await this.#reply(
      encodeOptionReply(Option.list, OptionReply.server, encodeServerName(this.#exportName, description)),
      encodeOptionReply(Option.list, OptionReply.ack),
    );
    return 'option';
  }

  async #inform(option: typeof Option.info | typeof Option.go, data: Uint8Array): Promise<Next> {
    const request = decodeInfoRequest(data);
    if (request === undefined || request.exportName.length > stringBytesMax) {
      return await this.#refuse(
        option,
        OptionReply.errorInvalid,
        'the lengths in the option do not fit its data',
      );
    }
    if (!this.#knows(request.exportName)) {
      return await this.#refuse(option, OptionReply.errorUnknown, this.#whatThereIs());
    }
    if (request.infoTypes.includes(InfoType.blockSize)) this.#askedForBlockSizes = true;
    const replies = this.#information(request.infoTypes).map((info) =>
      encodeOptionReply(option, OptionReply.info, info),
    );
    await this.#reply(...replies, encodeOptionReply(option, OptionReply.ack));
    return option === Option.go ? 'transmission' : 'option';
  }

  /**
   * Block sizes are told asked or not: "The server MAY send information requests back which are not explicitly
   * requested". Clients that did not ask are let in (the kernel's nbd-client never asks, and sends whole sectors) and get
   * those of sectors; what is smaller still the validator refuses: "When allowing such clients, the server MUST cleanly
   * error commands that fall outside block size constraints without corrupting data".
   */
  #information(asked: readonly number[]): Uint8Array[] {
    const exported = this.#agreed;
    const information = [
      encodeInfoExport(exported),
      encodeInfoBlockSize({
        minimumBytes: exported.minimumBlockBytes,
        preferredBytes: exported.preferredBlockBytes,
        maximumBytes: exported.maximumPayloadBytes,
      }),
    ];
    if (asked.includes(InfoType.name)) information.push(encodeInfoText(InfoType.name, this.#exportName));
    if (asked.includes(InfoType.description)) {
      const description = new TextEncoder().encode(exported.description);
      information.push(encodeInfoText(InfoType.description, description));
    }
    return information;
  }

  /** "" is the default export. */
  #knows(name: Uint8Array): boolean {
    if (name.length === 0) return true;
    return name.length === this.#exportName.length && name.every((byte, at) => byte === this.#exportName[at]);
  }

  #whatThereIs(): string {
    return `this server has the export "${this.#exported.name}"`;
  }

  async #refuse(option: number, type: OptionReply, message: string): Promise<Next> {
    await this.#reply(encodeOptionReply(option, type, new TextEncoder().encode(message)));
    return 'option';
  }

  async #reply(...messages: readonly Uint8Array[]): Promise<void> {
    await this.#stream.send(messages);
  }
}

/** A name from outside, short and printable, for a note to people. */
function quoted(name: Uint8Array): string {
  const text = new TextDecoder().decode(name.subarray(0, 64)).replaceAll(/[^\x20-\x7e]/g, '?');
  return `the export "${text}${name.length > 64 ? '…' : ''}"`;
}
