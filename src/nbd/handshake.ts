import { assert } from '../block/assert.ts';
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
import { withStructuredReplies } from './export-description.ts';
import type { ExportList, ExportView, ServedExport } from './export-list.ts';
import {
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeOptionHeader,
  encodeExportNameAnswer,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  encodeMetaContext,
  encodeOptionReply,
  encodeServerHello,
  encodeServerName,
  type OptionHeader,
} from './handshake-codec.ts';
import { discardedOptionBytesMax, optionBytesMax, optionCountMax } from './limits.ts';
import { chosenContexts, listedContexts, type MetaContext } from './meta-contexts.ts';
import type { StreamReader } from './stream-reader.ts';

/** Bytes that a `StreamReader` for the handshake must be able to take at once. */
export const handshakeBufferBytes: number = optionHeaderBytes + optionBytesMax;

/** Why no option is served, for the client. */
export interface HandshakeRefusal {
  readonly type: OptionReply;
  readonly message: string;
}

const lengthsDoNotFit = 'the lengths in the option do not fit its data';

/** How a handshake went on after one option. */
type Next = 'option' | 'transmission' | 'end';

/** What client and server agreed on for the transmission phase. */
export interface Agreement {
  readonly chosen: ServedExport;
  /** Of `chosen`: the aligned one for a client that asked for block sizes (R11). */
  readonly view: ExportView;
  readonly structuredReplies: boolean;
  /** For BLOCK_STATUS; none, and there is no BLOCK_STATUS. */
  readonly contexts: readonly MetaContext[];
}

/** What the client has set, for one export: "the export name ... MUST match" that of GO, or nothing is set. */
interface ContextChoice {
  readonly served: ServedExport;
  readonly contexts: readonly MetaContext[];
}

/**
 * The server's side of the fixed newstyle handshake. While `refusal` gives a reason, no option but ABORT is served. Resolves when
 * the transmission phase begins, to undefined when the client left or was refused. Throws `NbdProtocolError` when the client must be dropped, `StreamError` when the connection broke.
 */
export async function serveHandshake(
  stream: ByteStream,
  reader: StreamReader,
  exports: ExportList,
  refusal: () => HandshakeRefusal | undefined,
): Promise<Agreement | undefined> {
  return await new Handshake(stream, reader, exports, refusal).run();
}

class Handshake {
  readonly #stream: ByteStream;
  readonly #reader: StreamReader;
  readonly #exports: ExportList;
  readonly #refusal: () => HandshakeRefusal | undefined;
  #fixedNewstyle = false;
  #noZeroes = false;
  #askedForBlockSizes = false;
  #structuredReplies = false;
  #contextChoice: ContextChoice | undefined;
  #chosen: ServedExport | undefined;

  constructor(
    stream: ByteStream,
    reader: StreamReader,
    exports: ExportList,
    refusal: () => HandshakeRefusal | undefined,
  ) {
    this.#stream = stream;
    this.#reader = reader;
    this.#exports = exports;
    this.#refusal = refusal;
  }

  async run(): Promise<Agreement | undefined> {
    await this.#stream.send([encodeServerHello(HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes)]);
    const flags = await this.#reader.take(clientFlagsBytes);
    if (flags === undefined) return undefined;
    this.#acceptClientFlags(readU32(flags, 0));
    for (let count = 0; count < optionCountMax; count += 1) {
      const header = await this.#reader.take(optionHeaderBytes);
      if (header === undefined) return undefined;
      const next = await this.#serveOption(decodeOptionHeader(header));
      if (next === 'transmission') return this.#agreement();
      if (next === 'end') return undefined;
    }
    throw new NbdProtocolError(`sent more than ${optionCountMax} options`);
  }

  #agreement(): Agreement {
    const chosen = this.#chosen;
    assert(chosen !== undefined, 'Handshake: transmission without an export');
    const contexts = this.#contextChoice?.served === chosen ? this.#contextChoice.contexts : [];
    return { chosen, view: this.#viewOf(chosen), structuredReplies: this.#structuredReplies, contexts };
  }

  /** R11: who knows the block sizes keeps to them; all others send sectors. */
  #viewOf(served: ServedExport): ExportView {
    const { device, exported } = this.#askedForBlockSizes ? served.aligned : served.unaligned;
    return { device, exported: this.#structuredReplies ? withStructuredReplies(exported) : exported };
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
    const refusal = this.#refusal();
    if (refusal !== undefined && option !== Option.abort) {
      // EXPORT_NAME has no error reply.
      return option === Option.exportName ? 'end' : await this.#refuse(option, refusal.type, refusal.message);
    }
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
      case Option.structuredReply:
        return await this.#agreeOnStructuredReplies(data);
      case Option.listMetaContext:
      case Option.setMetaContext:
        return await this.#nameContexts(option, data);
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
    const served = this.#exports.find(name);
    if (served === undefined) {
      throw new NbdProtocolError(`asked for ${quoted(name)}, ${this.#exports.whatThereIs()}`);
    }
    this.#chosen = served;
    await this.#reply(encodeExportNameAnswer(this.#viewOf(served).exported, this.#noZeroes));
    return 'transmission';
  }

  async #list(data: Uint8Array): Promise<Next> {
    if (data.length > 0) {
      return await this.#refuse(Option.list, OptionReply.errorInvalid, 'LIST carries no data');
    }
    const servers = this.#exports.all.map(({ nameBytes, descriptionBytes }) =>
      encodeOptionReply(Option.list, OptionReply.server, encodeServerName(nameBytes, descriptionBytes)),
    );
    await this.#reply(...servers, encodeOptionReply(Option.list, OptionReply.ack));
    return 'option';
  }

  async #inform(option: typeof Option.info | typeof Option.go, data: Uint8Array): Promise<Next> {
    const request = decodeInfoRequest(data);
    if (request === undefined || request.exportName.length > stringBytesMax) {
      return await this.#refuse(option, OptionReply.errorInvalid, lengthsDoNotFit);
    }
    const served = this.#exports.find(request.exportName);
    if (served === undefined) {
      return await this.#refuse(option, OptionReply.errorUnknown, this.#exports.whatThereIs());
    }
    this.#chosen = served;
    if (request.infoTypes.includes(InfoType.blockSize)) this.#askedForBlockSizes = true;
    const replies = this.#information(served, request.infoTypes).map((info) =>
      encodeOptionReply(option, OptionReply.info, info),
    );
    await this.#reply(...replies, encodeOptionReply(option, OptionReply.ack));
    return option === Option.go ? 'transmission' : 'option';
  }

  async #agreeOnStructuredReplies(data: Uint8Array): Promise<Next> {
    if (data.length > 0) {
      const message = 'STRUCTURED_REPLY carries no data';
      return await this.#refuse(Option.structuredReply, OptionReply.errorInvalid, message);
    }
    this.#structuredReplies = true;
    await this.#reply(encodeOptionReply(Option.structuredReply, OptionReply.ack));
    return 'option';
  }

  async #nameContexts(
    option: typeof Option.listMetaContext | typeof Option.setMetaContext,
    data: Uint8Array,
  ): Promise<Next> {
    const isSet = option === Option.setMetaContext;
    // "Issuing this command replaces all previously-set metadata contexts", also when it fails.
    if (isSet) this.#contextChoice = undefined;
    // "This option MUST NOT be requested unless structured replies have been negotiated first."
    if (!this.#structuredReplies) {
      return await this.#refuse(option, OptionReply.errorInvalid, 'structured replies come first');
    }
    const request = decodeMetaContextRequest(data);
    if (request === undefined) return await this.#refuse(option, OptionReply.errorInvalid, lengthsDoNotFit);
    const served = this.#exports.find(request.exportName);
    if (served === undefined) {
      return await this.#refuse(option, OptionReply.errorUnknown, this.#exports.whatThereIs());
    }
    const contexts = isSet ? chosenContexts(request.queries) : listedContexts(request.queries);
    if (isSet) this.#contextChoice = { served, contexts };
    const replies = contexts.map(({ id, name }) =>
      // Of LIST: "The metadata context ID in these replies is reserved and SHOULD be set to zero".
      encodeOptionReply(option, OptionReply.metaContext, encodeMetaContext(isSet ? id : 0, name)),
    );
    await this.#reply(...replies, encodeOptionReply(option, OptionReply.ack));
    return 'option';
  }

  /**
   * Block sizes are told asked or not: "The server MAY send information requests back which are not explicitly
   * requested". Clients that did not ask are let in (the kernel's nbd-client never asks, and sends whole sectors) and get
   * those of sectors; what is smaller still the validator refuses: "When allowing such clients, the server MUST cleanly
   * error commands that fall outside block size constraints without corrupting data".
   */
  #information(served: ServedExport, asked: readonly number[]): Uint8Array[] {
    const { exported } = this.#viewOf(served);
    const information = [
      encodeInfoExport(exported),
      encodeInfoBlockSize({
        minimumBytes: exported.minimumBlockBytes,
        preferredBytes: exported.preferredBlockBytes,
        maximumBytes: exported.maximumPayloadBytes,
      }),
    ];
    if (asked.includes(InfoType.name)) information.push(encodeInfoText(InfoType.name, served.nameBytes));
    if (asked.includes(InfoType.description)) {
      information.push(encodeInfoText(InfoType.description, served.descriptionBytes));
    }
    return information;
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
