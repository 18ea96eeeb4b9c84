import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { examples } from './examples.ts';

/** The commands about a device that is served, or was. */
export function addDeviceCommands(program: Command, terminal: Terminal, running: { exitCode: number }): void {
  addQueries(program, terminal, running);
  addTop(program, terminal);
  addEvents(program, terminal);
  addSuspension(program, terminal);
  addRetire(program, terminal);
  addRestart(program, terminal);
  addRemove(program, terminal);
}

function addRetire(program: Command, terminal: Terminal): void {
  program
    .command('retire')
    .description('bring all data home to main and empty the table, so that main can be used alone')
    .summary('bring all data home to main')
    .argument('<NAME>')
    .option('--yes', 'then remove the device and wipe its spare')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('retire old-disk', 'retire old-disk --yes'))
    .action(async (name, options) => {
      await (await import('../verbs/retire.ts')).runRetire(terminal, name, options);
    });
}

function addSuspension(program: Command, terminal: Terminal): void {
  program
    .command('suspend')
    .description(
      'answer what is under way, make it durable, and let clients wait until "resume"; meanwhile no disk is touched, but for a sign of life on the spare every 10 s',
    )
    .summary('let clients wait, and leave the disks alone')
    .argument('<NAME>')
    .option('--noflush', 'only let clients wait; what is under way goes on')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('suspend old-disk', 'suspend old-disk --noflush --json'))
    .action(async (name, options) => {
      await (await import('../verbs/suspend.ts')).runSuspend(terminal, name, options);
    });
  program
    .command('resume')
    .description('end "suspend", if both disks are the same; try again what had failed as a whole')
    .summary('end "suspend"')
    .argument('<NAME>')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('resume old-disk'))
    .action(async (name, options) => {
      await (await import('../verbs/suspend.ts')).runResume(terminal, name, options);
    });
}

function addQueries(program: Command, terminal: Terminal, running: { exitCode: number }): void {
  program
    .command('ls')
    .description('list the devices, dead ones too')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('ls', 'ls --json'))
    .action(async (options) => {
      await (await import('../verbs/ls.ts')).runList(terminal, options);
    });
  program
    .command('info')
    .description('show the facts of a device, or of all, as dmsetup does')
    .argument('[NAME]')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('info', 'info old-disk --json'))
    .action(async (name, options) => {
      await (await import('../verbs/info.ts')).runInfo(terminal, name, options);
    });
  program
    .command('status')
    .description('show the state of a device, or of all; without an option a few lines for people')
    .summary('show the state of a device, or of all')
    .argument('[NAME]')
    .option('--line', 'one line a device, as dmsetup prints it')
    .option('--csv', 'a line of names, and one a device')
    .option('--json', 'as JSON')
    .option('--watch [SECONDS]', 'again every 2 seconds, or so many, until interrupted')
    .option('--check', 'one line for Nagios; ends with 0 healthy, 1 more was moved, 2 lost, 3 failed')
    .option('--grew-for <HOURS>', 'how long 1 is told after more was moved (default: 24)')
    .option('--acknowledge', 'what was moved by now is known: only more of it is told')
    .option('--checker <NAME>', 'who asks: each remembers by itself what it has seen (default: default)')
    .addHelpText(
      'after',
      examples(
        'status old-disk',
        'status --line',
        'status old-disk --json',
        'status old-disk --watch',
        'status old-disk --csv --watch 60 >> old-disk.csv',
        'status --check',
        'status old-disk --check --acknowledge',
      ),
    )
    .action(async (name, options) => {
      running.exitCode = await (await import('../verbs/status.ts')).runStatus(terminal, name, options);
    });
  program
    .command('health')
    .description(
      'look at how healthy a device and its disks are, from 0 to 100 (healthy), why, and what to do',
    )
    .summary('how healthy the disks are, why, and what to do')
    .argument('<NAME>')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('health old-disk', 'health old-disk --json'))
    .action(async (name, options) => {
      await (await import('../verbs/health.ts')).runHealth(terminal, name, options);
    });
  program
    .command('table')
    .description('show the device-mapper table of a device')
    .argument('<NAME>')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('table old-disk', 'table old-disk --json'))
    .action(async (name, options) => {
      await (await import('../verbs/table.ts')).runTable(terminal, name, options);
    });
  program
    .command('policy')
    .description('show the policies of a device, or one of them, or change it for the next request')
    .summary('show or change the policies of a device')
    .argument('<NAME>')
    .argument('[POLICY]')
    .argument('[VALUE]')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('policy old-disk', 'policy old-disk path-timeout 60'))
    .action(async (name, policy, value, options) => {
      await (await import('../verbs/policy.ts')).runPolicy(terminal, name, policy, value, options);
    });
  program
    .command('message')
    .description(
      'send a message to a device; "help" lists them, "main SECTOR WORDS..." goes to main\'s table',
    )
    .summary('ask a device; "help" lists the messages')
    .argument('<NAME>')
    .argument('<SECTOR>')
    .argument('<WORDS...>')
    .option('--json', 'print the reply as JSON')
    .addHelpText(
      'after',
      examples(
        'message old-disk 0 help',
        'message old-disk 0 list',
        'message old-disk 0 retry all',
        'message old-disk 0 main 2048 addbadblock 4711',
      ),
    )
    .action(async (name, sector, words, options) => {
      await (await import('../verbs/message.ts')).runMessage(terminal, name, sector, words, options);
    });
}

function addTop(program: Command, terminal: Terminal): void {
  program
    .command('top')
    .description(
      'watch devices: requests, times, errors, state, and a map of main; on a terminal q quits, p pauses, arrows choose a device; in a pipe a line a look',
    )
    .summary('watch devices: requests, times, errors, a map of main')
    .argument('[NAMES...]')
    .option('-i, --interval <SECONDS>', 'look again every so many seconds (default: 2)')
    .option('-n, --count <COUNT>', 'end after so many looks')
    .option('--once', 'print the screen once, behind one interval, and end')
    .option('--json', 'a JSON object a look and device')
    .addHelpText(
      'after',
      examples(
        'top',
        'top old-disk --interval 10',
        'top old-disk --once',
        'top --interval 60 >> devices.log',
      ),
    )
    .action(async (names, options) => {
      await (await import('../verbs/top.ts')).runTop(terminal, names, options);
    });
}

function addEvents(program: Command, terminal: Terminal): void {
  program
    .command('events')
    .description('show what happened to a device, or to all, also to those that are no longer served')
    .summary('show what happened to a device, or to all')
    .argument('[NAME]')
    .option('--follow', 'wait for more, until interrupted')
    .option('--since <TIME>', '2026-01-31, 2026-01-31T14:05:00Z (UTC), or 90s, 30m, 12h, 7d ago')
    .option('--kind <KIND...>', 'only events of these kinds')
    .option('-n, --last <COUNT>', 'only the last so many')
    .option('--file <PATH>', 'from a file: of another machine, or of a device that is no more')
    .option('--json', 'the lines as they are stored, a JSON object each')
    .addHelpText(
      'after',
      examples(
        'events old-disk',
        'events old-disk --follow --kind remapped unreadable gone',
        'events --since 12h -n 50',
        'events --file /mnt/events.jsonl --json',
      ),
    )
    .action(async (name, options) => {
      await (await import('../verbs/events.ts')).runEvents(terminal, name, options);
    });
}

function addRestart(program: Command, terminal: Terminal): void {
  program
    .command('restart')
    .description(
      "end a device's process and serve the device by a new one, as after an upgrade; a file system on it, attached by nbd, notices a pause",
    )
    .summary('serve a device by a new process, under its clients')
    .argument('<NAME>')
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', examples('restart old-disk'))
    .action(async (name, options) => {
      await (await import('../verbs/restart.ts')).runRestart(terminal, name, options);
    });
}

function addRemove(program: Command, terminal: Terminal): void {
  program
    .command('remove')
    .description(
      'end a device cleanly: not while a client is connected or a disk does not answer; of a killed one, clean up what it left',
    )
    .summary('end a device cleanly')
    .argument('<NAME>')
    .option(
      '--force',
      'end it within seconds: cut clients off, leave what a disk does not answer to the kernel',
    )
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', examples('remove old-disk', 'remove old-disk --force --json'))
    .action(async (name, options) => {
      await (await import('../verbs/remove.ts')).runRemove(terminal, name, options);
    });
}
