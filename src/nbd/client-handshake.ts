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
  decodeOptionReplyHeader,
  decodeServerHello,
  type ExportInfo,
  encodeClientFlags,
  encodeInfoRequest,
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
  readonly minimumBlockBytes: number;
  readonly preferredBlockBytes: number;
  readonly maximumPayloadBytes: number;
}

/** A server that sends more replies to one GO makes no sense. */
const replyCountMax = 64;
const replyDataBytesMax = 16 * 1024;

/** "a client SHOULD assume a default minimum block size of 1, a preferred block size of 2^12 (4,096)" */
const defaultBlockSizes: BlockSizeInfo = {
  minimumBytes: 1,
  preferredBytes: 4096,
  maximumBytes: payloadBytesMax,
};

/** The client's side of the fixed newstyle handshake, by GO. Rejects with `NbdProtocolError` when there is no export. */
export async function shakeHands(
  stream: ByteStream,
  reader: StreamReader,
  exportName: string,
): Promise<RemoteExport> {
  const handshakeFlags = decodeServerHello(await taken(reader, serverHelloBytes));
  if ((handshakeFlags & HandshakeFlag.fixedNewstyle) === 0) {
    throw new NbdProtocolError('the NBD server does not speak fixed newstyle');
  }
  const go = encodeInfoRequest({
    exportName: new TextEncoder().encode(exportName),
    infoTypes: [InfoType.blockSize],
  });
  const clientFlags = HandshakeFlag.fixedNewstyle | (handshakeFlags & HandshakeFlag.noZeroes);
  await stream.send([encodeClientFlags(clientFlags), encodeOption(Option.go, go)]);
  return await receiveInformation(reader, exportName);
}

async function receiveInformation(reader: StreamReader, exportName: string): Promise<RemoteExport> {
  let exported: ExportInfo | undefined;
  let sizes = defaultBlockSizes;
  for (let count = 0; count < replyCountMax; count += 1) {
    const { option, type, length } = decodeOptionReplyHeader(await taken(reader, optionReplyHeaderBytes));
    if (option !== Option.go || length > replyDataBytesMax) {
      throw new NbdProtocolError(`a reply of ${length} bytes to option ${option}, expected one to GO`);
    }
    const data = await taken(reader, length);
    if (type === OptionReply.ack) {
      if (exported === undefined)
        throw new NbdProtocolError('the NBD server accepted GO without INFO_EXPORT');
      return describe(exported, sizes);
    }
    if (type !== OptionReply.info) throw new NbdProtocolError(refusal(exportName, type, data));
    const infoType = data.length >= 2 ? readU16(data, 0) : -1;
    if (infoType === InfoType.export) exported = decodeInfoExport(data);
    if (infoType === InfoType.blockSize) sizes = decodeInfoBlockSize(data);
  }
  throw new NbdProtocolError(`more than ${replyCountMax} replies to GO`);
}

function describe(exported: ExportInfo, sizes: BlockSizeInfo): RemoteExport {
  const has = (flag: number): boolean => (exported.transmissionFlags & flag) !== 0;
  return {
    sizeBytes: exported.sizeBytes,
    readOnly: has(TransmissionFlag.readOnly),
    flush: has(TransmissionFlag.sendFlush),
    fua: has(TransmissionFlag.sendFua),
    multiConn: has(TransmissionFlag.canMultiConn),
    rotational: has(TransmissionFlag.rotational),
    minimumBlockBytes: sizes.minimumBytes,
    preferredBlockBytes: sizes.preferredBytes,
    maximumPayloadBytes: sizes.maximumBytes,
  };
}

function refusal(exportName: string, type: number, message: Uint8Array): string {
  const said = message.length === 0 ? '' : `: ${new TextDecoder().decode(message)}`;
  return `the NBD server refused the export "${exportName}" with reply 0x${type.toString(16)}${said}`;
}

async function taken(reader: StreamReader, length: number): Promise<Uint8Array> {
  const bytes = await reader.take(length);
  if (bytes === undefined) throw new NbdProtocolError('the NBD server closed during the handshake');
  return bytes;
}
