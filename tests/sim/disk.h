// The disks of the processes, for snapshots of the calls: daemon/snapshot_files.c in memory, and
// what disks and people do to files. A process's disk outlives it; in some worlds all share one.
#pragma once

#include "consumer/shard/shard.h"
#include "tests/sim/dice.h"
#include "tests/sim/list.h"

struct disk_file {
    int32_t shard;
    int64_t step; // by its name
    size_t size;
    uint8_t *bytes;
};

struct disk {
    LIST(struct disk_file) files;
};

// That a process is writing.
struct disk_writing {
    bool begun;
    int32_t shard;
    struct snapshot *snapshot; // NULL: its accounts are not there yet
    size_t size, capacity;
    uint8_t *bytes;
};

struct disk_counts {
    int64_t written, taken, refused, damaged;
};

// One or several pieces more. True: the file is there.
bool disk_write(struct disk *disk, struct disk_writing *writing, struct dice *dice);
// It ends in between: nothing is left, or a disk that lied has a part under the file's name.
void disk_tear(struct disk *disk, struct disk_writing *writing, struct dice *dice);
enum snapshot_found disk_read(const struct disk *disk, int32_t shard, int back,
                              struct snapshot_reader *reader, struct dice *dice, struct error *e);
// Something happens to a file: a byte is another, its end is missing, it is gone, it is another
// shard's or an older one, or of a history that never was. False: there is none.
bool disk_damage(struct disk *disk, struct dice *dice);
void disk_free(struct disk *disk);
