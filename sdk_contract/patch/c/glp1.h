/* GLP1 patches, applied while they download: the format is ../README.md, and "§" in these files means a section of it.
 *
 * Feed the bytes of a patch in pieces of any size. Source and target are reached through callbacks, so that they may be
 * files, flash or memory. Every byte is checked before it is used, and a block is written only when its digest is right.
 *
 * Memory: the head (128 bytes, and 80 for each block), and for the block in work at most 20 times the patch's block limit
 * (typical: 3 times). Nothing grows with the model. Needs libzstd, libcrypto and a little-endian processor.
 */
#ifndef GLP1_H
#define GLP1_H

#include <stddef.h>
#include <stdint.h>

/* The codes of §6, and three of this library. */
typedef enum {
    GLP1_OK = 0,
    GLP1_WRITE_FAILED = 1, /* a callback could not write */
    GLP1_NO_MEMORY = 2,
    GLP1_WRONG_USE = 3, /* fed after an error, or resumed behind the end */
    GLP1_BASE_MISSING = 3001,
    GLP1_BASE_MISMATCH = 3002,
    GLP1_PATCH_CORRUPT = 3003,
    GLP1_PATCH_TOO_LARGE = 3004,
    GLP1_PATCH_UNSUPPORTED = 3005,
    GLP1_PATCH_TRUNCATED = 3006,
    GLP1_TARGET_MISMATCH = 3007,
    GLP1_INDEX_MISMATCH = 3008,
    GLP1_NOT_REVERSIBLE = 3009
} glp1_status;

/* What the head says of the whole patch (§1). */
typedef struct {
    uint32_t flags;
    uint64_t source_size, target_size, payload_size;
    uint32_t blocks, block_limit;
    uint64_t working_set;
    uint8_t source_sha256[32], target_sha256[32];
} glp1_head;

/* The world outside. Functions return 0 when they did all of it, anything else when they could not. */
typedef struct {
    void *user; /* handed to each of them */
    int (*read_source)(void *user, uint64_t offset, uint8_t *into, size_t size);
    int (*write_target)(void *user, uint64_t offset, const uint8_t *bytes, size_t size);
    /* Only for a resume: what was written in an earlier life. May be NULL otherwise. */
    int (*read_target)(void *user, uint64_t offset, uint8_t *into, size_t size);
    /* May be NULL. Called once, with a head that passed its checks, before the first block: compare it with the manifest.
     * Anything but GLP1_OK ends the patch with that status. */
    glp1_status (*accept)(void *user, const glp1_head *head);
} glp1_io;

/* Above them a patch is refused (patch_too_large) before memory is taken for it. */
typedef struct {
    uint32_t blocks;      /* records in the head */
    uint32_t block_limit; /* bytes of target that a coded block makes */
    uint64_t working_set; /* what the head says that the reference needs; this library needs about half of it */
} glp1_limits;

extern const glp1_limits GLP1_DEFAULT_LIMITS;

typedef struct glp1 glp1;

/* Starts a patch, or goes on with one whose first `blocks_done` blocks are in the target already.
 *
 * `index_sha256` is the index digest of the signed descriptor, 32 bytes, copied. NULL only where nobody signs. `limits` may be
 * NULL. Returns NULL without memory. */
glp1 *glp1_new(const glp1_io *io, const glp1_limits *limits, const uint8_t *index_sha256, uint32_t blocks_done);

/* Takes the patch's next bytes: those from `glp1_position` on. Makes every block that is complete with them. Bytes behind the
 * last block are ignored. The first status that is not GLP1_OK is final; what was written before stays valid. */
glp1_status glp1_feed(glp1 *patch, const uint8_t *bytes, size_t size);

/* Offset in the patch file of the byte that is wanted next. In a resume: feed the kept head first, then ask (bytes that came
 * in one call with the head's end are dropped). */
uint64_t glp1_position(const glp1 *patch);

/* Number of blocks that are in the target. Keep it, with the head, for a resume: behind a sync of the target. */
uint32_t glp1_blocks_done(const glp1 *patch);

/* Whether every block is made: the rest of the file is notes for people, which no device needs. */
int glp1_is_made(const glp1 *patch);

/* After the last byte: is the target complete, and the signed file? */
glp1_status glp1_finish(glp1 *patch);

void glp1_free(glp1 *patch);

/* The name in §6, for logs and reports. */
const char *glp1_status_name(glp1_status status);

#endif
