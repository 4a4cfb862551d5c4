/* Applies GLP1 patches while they are downloaded. "§" in these files is a section of ../README.md, which defines the format.
 *
 * Feed the bytes of a patch in pieces of any size. Callbacks read the source and write the target, which may be files, flash
 * or memory. Every byte is checked before it is used, and a coded block is written only after its digest is verified.
 *
 * Memory: the head (128 bytes, and 80 per block), and for one block at most 20 times the patch's block limit (typically 3
 * times). Memory does not grow with the model. Requires libzstd, libcrypto and a little-endian processor.
 */
#ifndef GLP1_H
#define GLP1_H

#include <stddef.h>
#include <stdint.h>

/* The errors of §6, and three of this library. */
typedef enum {
    GLP1_OK = 0,
    GLP1_WRITE_FAILED = 1, /* the write callback failed */
    GLP1_NO_MEMORY = 2,
    GLP1_WRONG_USE = 3, /* resumed after the last block, or without `read_target` */
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

/* The header of a patch (§1). */
typedef struct {
    uint32_t flags;
    uint64_t source_size, target_size, payload_size;
    uint32_t blocks, block_limit;
    uint64_t working_set;
    uint8_t source_sha256[32], target_sha256[32];
} glp1_head;

/* The caller's callbacks. They return 0 after they read or wrote everything, and another value on an error. */
typedef struct {
    void *user; /* is passed to every callback */
    int (*read_source)(void *user, uint64_t offset, uint8_t *into, size_t size);
    int (*write_target)(void *user, uint64_t offset, const uint8_t *bytes, size_t size);
    /* Reads what was written before a resume; may be NULL if the patch is never resumed. */
    int (*read_target)(void *user, uint64_t offset, uint8_t *into, size_t size);
    /* Is called once, before the first block, with a checked header, to compare it with the manifest. A status other than
     * GLP1_OK stops the patch with that status. May be NULL. */
    glp1_status (*accept)(void *user, const glp1_head *head);
} glp1_io;

/* A patch that exceeds a limit fails with patch_too_large before memory is allocated for it. */
typedef struct {
    uint32_t blocks;      /* number of records in the head */
    uint32_t block_limit; /* target bytes of one coded block */
    uint64_t working_set; /* memory of the reference applier, from the header; this library needs about half of it */
} glp1_limits;

extern const glp1_limits GLP1_DEFAULT_LIMITS;

typedef struct glp1 glp1;

/* Starts a patch, or resumes one whose first `blocks_done` blocks are in the target already.
 *
 * `index_sha256` is the index digest from the signed descriptor, 32 bytes, which are copied; NULL only for unsigned patches.
 * `limits` may be NULL for the defaults. Returns NULL if there is not enough memory. */
glp1 *glp1_new(const glp1_io *io, const glp1_limits *limits, const uint8_t *index_sha256, uint32_t blocks_done);

/* Takes the next bytes of the patch, from `glp1_position` on, and applies every block that is complete. Bytes after the last
 * block are ignored. The first status other than GLP1_OK is final; blocks that were written before stay valid. */
glp1_status glp1_feed(glp1 *patch, const uint8_t *bytes, size_t size);

/* Offset in the patch file of the next byte to feed. For a resume, feed the stored head first, then call this function: bytes
 * after the head in the same call are dropped. */
uint64_t glp1_position(const glp1 *patch);

/* Number of blocks in the target. To be able to resume, store it with the head, after a sync of the target. */
uint32_t glp1_blocks_done(const glp1 *patch);

/* Whether every block is applied. The patch may have notes after its last block, which a device does not need. */
int glp1_is_complete(const glp1 *patch);

/* Checks that the target is complete and has the digest from the header. Call it after the last byte. */
glp1_status glp1_finish(glp1 *patch);

void glp1_free(glp1 *patch);

/* The error's code in §6, for logs and events. */
const char *glp1_status_name(glp1_status status);

#endif
