#include "tests/sim/disk.h"

#include "consumer/base/memory.h"
#include "consumer/usage/snapshot_format.h"

#include <assert.h>
#include <stdlib.h>

static void remove_file(struct disk *disk, size_t i)
{
    size_t last = --disk->files.count;
    free(disk->files.at[i].bytes);
    disk->files.at[i] = disk->files.at[last];
    disk->files.at[last] = (struct disk_file){0};
}

static const struct disk_file *newest_below(const struct disk *disk, int32_t shard, int64_t below)
{
    const struct disk_file *newest = NULL;
    for (size_t i = 0; i < disk->files.count; i++) {
        const struct disk_file *file = &disk->files.at[i];
        if (file->shard == shard && file->step < below && (!newest || file->step > newest->step))
            newest = file;
    }
    return newest;
}

// As the daemon does: what is above it, and all below but one.
static void keep_two(struct disk *disk, int32_t shard, int64_t step)
{
    const struct disk_file *before = newest_below(disk, shard, step);
    int64_t kept = before ? before->step : -1; // files are moved below
    for (size_t i = disk->files.count; i-- > 0;) {
        const struct disk_file *file = &disk->files.at[i];
        if (file->shard == shard && file->step != step && file->step != kept)
            remove_file(disk, i);
    }
}

static void put_file(struct disk *disk, struct disk_writing *writing)
{
    const struct snapshot_head *head = snapshot_head_of(writing->snapshot);
    for (size_t i = disk->files.count; i-- > 0;)
        if (disk->files.at[i].shard == head->shard && disk->files.at[i].step == head->row.step)
            remove_file(disk, i);
    *list_add(&disk->files) = (struct disk_file){.shard = head->shard,
                                                 .step = head->row.step,
                                                 .size = writing->size,
                                                 .bytes = writing->bytes};
    writing->bytes = NULL;
    keep_two(disk, head->shard, head->row.step);
}

static void end(struct disk_writing *writing)
{
    snapshot_free(writing->snapshot);
    free(writing->bytes);
    *writing = (struct disk_writing){0};
}

static bool write_piece(struct disk_writing *writing)
{
    struct slice piece;
    if (!snapshot_next(writing->snapshot, &piece))
        return false;
    if (writing->size + piece.size > writing->capacity) {
        writing->capacity = 2 * (writing->size + piece.size);
        writing->bytes = memory_grow(writing->bytes, writing->capacity, 1);
    }
    memcpy(writing->bytes + writing->size, piece.data, piece.size);
    writing->size += piece.size;
    return true;
}

bool disk_write(struct disk *disk, struct disk_writing *writing, struct dice *dice)
{
    if (!writing->snapshot)
        return false;
    for (int64_t pieces = dice_between(dice, 1, 4); pieces > 0; pieces--) {
        if (write_piece(writing))
            continue;
        put_file(disk, writing);
        end(writing);
        return true;
    }
    return false;
}

void disk_tear(struct disk *disk, struct disk_writing *writing, struct dice *dice)
{
    if (writing->snapshot && writing->size > 0 && dice_hit(dice, 20))
        put_file(disk, writing);
    end(writing);
}

// In pieces of any size, as a file system gives them.
enum snapshot_found disk_read(const struct disk *disk, int32_t shard, int back,
                              struct snapshot_reader *reader, struct dice *dice, struct error *e)
{
    const struct disk_file *file = newest_below(disk, shard, INT64_MAX);
    for (int i = 0; i < back && file; i++)
        file = newest_below(disk, shard, file->step);
    if (!file)
        return SNAPSHOT_NONE;
    for (size_t at = 0; !snapshot_is_whole(reader);) {
        size_t size;
        void *room = snapshot_room(reader, &size);
        if (size > 1 && dice_hit(dice, 20))
            size = (size_t)dice_between(dice, 1, (int64_t)size);
        if (size > file->size - at)
            size = file->size - at;
        memcpy(room, file->bytes + at, size);
        at += size;
        if (snapshot_take(reader, size, e) != 0)
            return SNAPSHOT_REFUSED;
    }
    return SNAPSHOT_READ;
}

// Goes through the sections and gives each its digest. False, where it only looks: one has another.
static bool seal(const struct disk_file *file, bool looks)
{
    struct snapshot_section section;
    size_t at = sizeof(struct snapshot_start);
    uint64_t digest = snapshot_first_digest((const struct snapshot_start *)(void *)file->bytes);
    while (at + sizeof section <= file->size) {
        memcpy(&section, file->bytes + at, sizeof section);
        if (section.size > file->size - at - sizeof section)
            return false;
        digest = snapshot_digest(digest, &section, file->bytes + at + sizeof section);
        if (looks && section.digest != digest)
            return false;
        section.digest = digest;
        memcpy(file->bytes + at, &section, sizeof section);
        at += sizeof section + section.size;
    }
    return true;
}

// As if it were of a history that the database has lost, and all of it well written: its last
// record is another one, or a call was a duplicate there. A file that is damaged stays so: with new
// digests its damage could not be seen.
static void forge(const struct disk_file *file, bool record)
{
    struct snapshot_head head;
    size_t at = sizeof(struct snapshot_start) + sizeof(struct snapshot_section);
    if (file->size < at + sizeof head || !seal(file, true))
        return;
    memcpy(&head, file->bytes + at, sizeof head);
    head.last_hash ^= record;
    head.accepted -= !record;
    head.duplicates += !record;
    memcpy(file->bytes + at, &head, sizeof head);
    (void)seal(file, false);
}

bool disk_damage(struct disk *disk, struct dice *dice)
{
    if (disk->files.count == 0)
        return false;
    struct disk_file *file = &disk->files.at[dice_below(dice, (int64_t)disk->files.count)];
    const struct disk_file *other = &disk->files.at[dice_below(dice, (int64_t)disk->files.count)];
    switch (dice_below(dice, 6)) {
    case 0:
        if (file->size > 0)
            file->bytes[dice_below(dice, (int64_t)file->size)] ^=
                (uint8_t)(1 << dice_below(dice, 8));
        break;
    case 1:
        file->size = (size_t)dice_below(dice, (int64_t)file->size + 1);
        break;
    case 2:
        remove_file(disk, (size_t)(file - disk->files.at));
        break;
    case 3:
    case 4:
        forge(file, dice_hit(dice, 50));
        break;
    default:
        if (other == file)
            return false;
        free(file->bytes);
        file->size = other->size;
        file->bytes = memory_grow(NULL, other->size + 1, 1);
        memcpy(file->bytes, other->bytes, other->size);
        break;
    }
    return true;
}

void disk_free(struct disk *disk)
{
    while (disk->files.count > 0)
        remove_file(disk, 0);
    list_free(&disk->files);
}
