// The snapshots of a worker's shards in a folder of this machine: one file each, written on a
// thread of its own, one at a time; of a shard the newest two are kept.
//
//   shard-3.step-0000000000001234.snapshot       good, or it was damaged since
//   shard-3.step-0000000000001234.PID.tmp        being written, or left by a crash
//
// A file has its name only when all of it is on disk. Several processes may share a folder.
#pragma once

#include "consumer/shard/shard.h"

struct snapshot_files;

// `directory` and `metrics` outlive it. ERROR_RESTART: there is no thread.
int snapshot_files_create(const char *directory, struct metrics *metrics,
                          struct snapshot_files **out, struct error *e);
// Waits a moment for what is being written; then it comes to nothing. False: the disk hangs, and
// the thread is left behind with all that it uses. NULL: nothing.
bool snapshot_files_destroy(struct snapshot_files *files);

// As shard_host says of them.
bool snapshot_files_begin(struct snapshot_files *files);
void snapshot_files_write(struct snapshot_files *files, int32_t shard, struct snapshot *snapshot);
enum snapshot_found snapshot_files_read(struct snapshot_files *files, int32_t shard, int back,
                                        struct snapshot_reader *reader,
                                        char name[SNAPSHOT_NAME_SIZE], struct error *e);
