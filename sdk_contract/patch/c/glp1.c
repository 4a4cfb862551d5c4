/* The file of a patch (§1): head, records, digests, and the blocks one after the other, as their bytes arrive. */
#include "glp1.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "glp1_block.h"

enum { FIXED = 128, RECORD = 80, DIGEST = 16, SHA256 = 32, PIECE = 1 << 18 };
enum { COPY, ZERO, CODED };
enum { REVERSIBLE = 1 };
enum { PAYLOAD_EXTRA = 64 << 10, ARENA_BLOCKS = 16, ARENA_EXTRA = 1 << 20 };

static const uint8_t MAGIC[8] = {0x89, 'G', 'L', 'P', 0x0D, 0x0A, 0x1A, 0x0A};
const glp1_limits GLP1_DEFAULT_LIMITS = {((64u << 20) - FIXED) / RECORD, 4u << 20, 96u << 20};

struct glp1 {
    glp1_io io;
    glp1_limits limits;
    uint8_t index_sha256[SHA256];
    bool is_signed;
    glp1_status status; /* the first that was not OK */

    uint8_t *head_bytes; /* as they came; records are read out of them when their block's turn comes */
    size_t head_size, head_have;
    glp1_head head; /* valid once head_have == head_size */

    uint32_t blocks_done, blocks_before; /* the latter: in an earlier life */
    uint64_t target_offset, payload_offset; /* of the block in work */
    glp1_record record; /* of the block in work */
    uint8_t *payload; /* what came of its payload */
    size_t payload_have;
    uint8_t *target; /* a coded block, or a piece of another */
    glp1_arena arena;
    ZSTD_DCtx *zstd;

    EVP_MD_CTX *front; /* SHA-256 of the target from its first byte to the end of the last block done */
    EVP_MD_CTX *next;  /* the same with the block in work */
    EVP_MD_CTX *spare; /* for digests that are finished */
};

static uint64_t u64(const uint8_t *bytes) {
    uint64_t number;
    memcpy(&number, bytes, 8);
    return number;
}

static uint32_t u32(const uint8_t *bytes) { return glp1_get(bytes, 0, 4); }

/* --- digests ------------------------------------------------------------------------------------------------------------ */

static glp1_status hash_begin(EVP_MD_CTX *hash) {
    return EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 ? GLP1_OK : GLP1_NO_MEMORY;
}

static glp1_status hash_add(EVP_MD_CTX *hash, const uint8_t *bytes, size_t size) {
    return EVP_DigestUpdate(hash, bytes, size) == 1 ? GLP1_OK : GLP1_NO_MEMORY;
}

/* What the hash is so far; it can go on afterwards. */
static glp1_status hash_now(glp1 *p, EVP_MD_CTX *hash, uint8_t digest[SHA256]) {
    bool done = EVP_MD_CTX_copy_ex(p->spare, hash) == 1 && EVP_DigestFinal_ex(p->spare, digest, NULL) == 1;
    return done ? GLP1_OK : GLP1_NO_MEMORY;
}

static glp1_status hash_of(glp1 *p, const uint8_t *bytes, size_t size, uint8_t digest[SHA256]) {
    TRY(hash_begin(p->spare));
    TRY(hash_add(p->spare, bytes, size));
    return EVP_DigestFinal_ex(p->spare, digest, NULL) == 1 ? GLP1_OK : GLP1_NO_MEMORY;
}

/* --- head --------------------------------------------------------------------------------------------------------------- */

/* What has to be known of the first 128 bytes to know where the head ends, and no more: they are not verified yet. */
static glp1_status size_head(glp1 *p) {
    const uint8_t *h = p->head_bytes;
    MUST(memcmp(h, MAGIC, sizeof MAGIC) == 0);
    bool known = glp1_get(h, 4, 2) == 1 && glp1_get(h, 5, 2) == FIXED; /* version, where the records start */
    if (!known || (u32(h + 12) & ~(uint32_t)REVERSIBLE) || u32(h + 60)) return GLP1_PATCH_UNSUPPORTED;
    uint32_t blocks = u32(h + 40);
    if (blocks > p->limits.blocks) return GLP1_PATCH_TOO_LARGE;
    p->head_size = FIXED + (size_t)RECORD * blocks;
    uint8_t *longer = realloc(p->head_bytes, p->head_size);
    if (longer == NULL) return GLP1_NO_MEMORY;
    p->head_bytes = longer;
    return GLP1_OK;
}

static void read_head(const uint8_t *h, glp1_head *head) {
    head->flags = u32(h + 12);
    head->source_size = u64(h + 16);
    head->target_size = u64(h + 24);
    head->payload_size = u64(h + 32);
    head->blocks = u32(h + 40);
    head->block_limit = u32(h + 44);
    head->working_set = u64(h + 48);
    memcpy(head->source_sha256, h + 64, SHA256);
    memcpy(head->target_sha256, h + 96, SHA256);
}

static void read_record(const uint8_t *r, glp1_record *record) {
    record->target_size = u32(r);
    record->payload_size = u32(r + 4);
    record->source_offset = u64(r + 8);
    record->source_span = u64(r + 16);
    record->source_size = u32(r + 24);
    record->operation = r[28];
    record->reversible = r[29];
    memcpy(record->payload_digest, r + 32, DIGEST);
    memcpy(record->target_digest, r + 64, DIGEST);
}

static glp1_status check_record(const glp1_head *head, const uint8_t *bytes, glp1_record *r) {
    read_record(bytes, r);
    if (r->operation > CODED || r->reversible > 1 || bytes[30] || bytes[31]) return GLP1_PATCH_UNSUPPORTED;
    MUST(r->target_size > 0);
    MUST(r->source_offset <= head->source_size && r->source_span <= head->source_size - r->source_offset);
    MUST(r->reversible || !(head->flags & REVERSIBLE));
    if (r->operation == CODED) {
        MUST(r->target_size <= head->block_limit);
        MUST(r->payload_size <= (uint64_t)head->block_limit + PAYLOAD_EXTRA);
        return GLP1_OK;
    }
    uint32_t reads = r->operation == COPY ? r->target_size : 0;
    MUST(r->payload_size == 0 && r->source_span == reads && r->source_size == reads);
    return GLP1_OK;
}

static glp1_status check_records(glp1 *p) {
    const glp1_head *head = &p->head;
    uint64_t target = 0, payload = 0; /* at most 2^32 numbers of 32 bits each: no overflow */
    for (uint32_t i = 0; i < head->blocks; i++) {
        TRY(check_record(head, p->head_bytes + FIXED + (size_t)RECORD * i, &p->record));
        target += p->record.target_size;
        payload += p->record.payload_size;
    }
    MUST(target == head->target_size && payload == head->payload_size);
    MUST(head->blocks == 0 || memcmp(p->record.target_digest, head->target_sha256, DIGEST) == 0);
    return GLP1_OK;
}

static glp1_status check_head(glp1 *p) {
    uint8_t digest[SHA256];
    TRY(hash_of(p, p->head_bytes, p->head_size, digest));
    if (p->is_signed && memcmp(digest, p->index_sha256, SHA256) != 0) return GLP1_INDEX_MISMATCH;
    read_head(p->head_bytes, &p->head);
    if (p->head.block_limit > p->limits.block_limit || p->head.working_set > p->limits.working_set)
        return GLP1_PATCH_TOO_LARGE;
    return check_records(p);
}

static glp1_status take_buffers(glp1 *p) {
    size_t limit = p->head.block_limit;
    p->arena.size = ARENA_BLOCKS * limit + ARENA_EXTRA;
    p->arena.base = malloc(p->arena.size);
    p->payload = malloc(limit + PAYLOAD_EXTRA);
    p->target = malloc(limit > PIECE ? limit : PIECE);
    p->zstd = ZSTD_createDCtx();
    return p->arena.base && p->payload && p->target && p->zstd ? GLP1_OK : GLP1_NO_MEMORY;
}

/* The record of the block in work, if there is one. */
static void next_record(glp1 *p) {
    p->payload_have = 0;
    if (p->blocks_done < p->head.blocks)
        read_record(p->head_bytes + FIXED + (size_t)RECORD * p->blocks_done, &p->record);
}

static void advance(glp1 *p) {
    p->target_offset += p->record.target_size;
    p->payload_offset += p->record.payload_size;
    p->blocks_done++;
    next_record(p);
}

/* Hashes what an earlier life wrote, and compares it with the record of its last block. */
static glp1_status resume(glp1 *p) {
    uint8_t wanted[DIGEST], digest[SHA256];
    if (p->blocks_before > p->head.blocks || p->io.read_target == NULL) return GLP1_WRONG_USE;
    while (p->blocks_done < p->blocks_before) {
        memcpy(wanted, p->record.target_digest, DIGEST);
        advance(p);
    }
    for (uint64_t at = 0; at < p->target_offset;) {
        size_t size = p->target_offset - at < PIECE ? (size_t)(p->target_offset - at) : PIECE;
        if (p->io.read_target(p->io.user, at, p->target, size) != 0) return GLP1_TARGET_MISMATCH;
        TRY(hash_add(p->front, p->target, size));
        at += size;
    }
    TRY(hash_now(p, p->front, digest));
    return memcmp(digest, wanted, DIGEST) == 0 ? GLP1_OK : GLP1_TARGET_MISMATCH;
}

static glp1_status open_head(glp1 *p) {
    TRY(check_head(p));
    if (p->io.accept != NULL) TRY(p->io.accept(p->io.user, &p->head));
    TRY(take_buffers(p));
    next_record(p);
    return p->blocks_before ? resume(p) : GLP1_OK;
}

/* --- blocks ------------------------------------------------------------------------------------------------------------- */

static glp1_status write_target(const glp1 *p, uint64_t offset, const uint8_t *bytes, size_t size) {
    return p->io.write_target(p->io.user, offset, bytes, size) == 0 ? GLP1_OK : GLP1_WRITE_FAILED;
}

/* A copy or zero block may be long: it is made in pieces, and written while it is hashed. */
static glp1_status make_plain(glp1 *p) {
    const glp1_record *r = &p->record;
    if (r->operation == ZERO) memset(p->target, 0, PIECE);
    for (uint32_t at = 0; at < r->target_size;) {
        size_t size = r->target_size - at < PIECE ? r->target_size - at : PIECE;
        if (r->operation == COPY && p->io.read_source(p->io.user, r->source_offset + at, p->target, size) != 0)
            return GLP1_BASE_MISSING;
        TRY(hash_add(p->next, p->target, size));
        TRY(write_target(p, p->target_offset + at, p->target, size));
        at += (uint32_t)size;
    }
    return GLP1_OK;
}

static glp1_status make_coded(glp1 *p) {
    const glp1_record *r = &p->record;
    uint8_t digest[SHA256];
    TRY(hash_of(p, p->payload, r->payload_size, digest));
    MUST(memcmp(digest, r->payload_digest, DIGEST) == 0);
    p->arena.used = 0;
    glp1_decoder decoder = {p->payload, p->payload + r->payload_size, &p->arena, p->zstd, &p->io};
    TRY(glp1_block_decode(&decoder, r, p->target));
    return hash_add(p->next, p->target, r->target_size);
}

static glp1_status make_block(glp1 *p) {
    uint8_t digest[SHA256];
    if (EVP_MD_CTX_copy_ex(p->next, p->front) != 1) return GLP1_NO_MEMORY;
    TRY(p->record.operation == CODED ? make_coded(p) : make_plain(p));
    TRY(hash_now(p, p->next, digest));
    if (memcmp(digest, p->record.target_digest, DIGEST) != 0) return GLP1_BASE_MISMATCH;
    if (p->record.operation == CODED) TRY(write_target(p, p->target_offset, p->target, p->record.target_size));
    EVP_MD_CTX *done = p->next;
    p->next = p->front;
    p->front = done;
    advance(p);
    return GLP1_OK;
}

/* --- bytes as they come --------------------------------------------------------------------------------------------------- */

/* Moves bytes until `have` is `wanted`, or there are none. */
static bool collect(uint8_t *into, size_t *have, size_t wanted, const uint8_t **bytes, size_t *size) {
    size_t missing = wanted - *have, taken = missing < *size ? missing : *size;
    if (taken) memcpy(into + *have, *bytes, taken);
    *have += taken;
    *bytes += taken;
    *size -= taken;
    return *have == wanted;
}

static glp1_status feed_head(glp1 *p, const uint8_t **bytes, size_t *size) {
    if (p->head_size == FIXED) {
        if (!collect(p->head_bytes, &p->head_have, FIXED, bytes, size)) return GLP1_OK;
        TRY(size_head(p));
    }
    if (!collect(p->head_bytes, &p->head_have, p->head_size, bytes, size)) return GLP1_OK;
    return open_head(p);
}

static glp1_status feed_blocks(glp1 *p, const uint8_t **bytes, size_t *size) {
    while (p->blocks_done < p->head.blocks) {
        if (!collect(p->payload, &p->payload_have, p->record.payload_size, bytes, size)) return GLP1_OK;
        TRY(make_block(p));
    }
    return GLP1_OK;
}

static bool head_is_open(const glp1 *p) { return p->zstd != NULL; }

glp1_status glp1_feed(glp1 *p, const uint8_t *bytes, size_t size) {
    if (p->status != GLP1_OK) return p->status;
    if (!head_is_open(p)) {
        p->status = feed_head(p, &bytes, &size);
        if (p->blocks_before) size = 0; /* what came with the head is not what is wanted next */
    }
    if (p->status == GLP1_OK && head_is_open(p)) p->status = feed_blocks(p, &bytes, &size);
    return p->status;
}

int glp1_is_made(const glp1 *p) { return head_is_open(p) && p->blocks_done == p->head.blocks; }

glp1_status glp1_finish(glp1 *p) {
    uint8_t digest[SHA256];
    TRY(p->status);
    if (!glp1_is_made(p)) return GLP1_PATCH_TRUNCATED;
    TRY(hash_now(p, p->front, digest));
    return memcmp(digest, p->head.target_sha256, SHA256) == 0 ? GLP1_OK : GLP1_TARGET_MISMATCH;
}

uint64_t glp1_position(const glp1 *p) {
    return head_is_open(p) ? p->head_size + p->payload_offset + p->payload_have : p->head_have;
}

uint32_t glp1_blocks_done(const glp1 *p) { return p->blocks_done; }

glp1 *glp1_new(const glp1_io *io, const glp1_limits *limits, const uint8_t *index_sha256, uint32_t blocks_done) {
    glp1 *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->io = *io;
    p->limits = limits ? *limits : GLP1_DEFAULT_LIMITS;
    p->is_signed = index_sha256 != NULL;
    if (index_sha256) memcpy(p->index_sha256, index_sha256, SHA256);
    p->blocks_before = blocks_done;
    p->head_size = FIXED;
    p->head_bytes = malloc(FIXED);
    p->front = EVP_MD_CTX_new();
    p->next = EVP_MD_CTX_new();
    p->spare = EVP_MD_CTX_new();
    if (p->head_bytes && p->front && p->next && p->spare && hash_begin(p->front) == GLP1_OK) return p;
    glp1_free(p);
    return NULL;
}

void glp1_free(glp1 *p) {
    if (p == NULL) return;
    EVP_MD_CTX_free(p->spare);
    EVP_MD_CTX_free(p->next);
    EVP_MD_CTX_free(p->front);
    ZSTD_freeDCtx(p->zstd);
    free(p->target);
    free(p->payload);
    free(p->arena.base);
    free(p->head_bytes);
    free(p);
}

const char *glp1_status_name(glp1_status status) {
    switch (status) {
    case GLP1_OK: return "ok";
    case GLP1_WRITE_FAILED: return "write_failed";
    case GLP1_NO_MEMORY: return "no_memory";
    case GLP1_WRONG_USE: return "wrong_use";
    case GLP1_BASE_MISSING: return "base_missing";
    case GLP1_BASE_MISMATCH: return "base_mismatch";
    case GLP1_PATCH_CORRUPT: return "patch_corrupt";
    case GLP1_PATCH_TOO_LARGE: return "patch_too_large";
    case GLP1_PATCH_UNSUPPORTED: return "patch_unsupported";
    case GLP1_PATCH_TRUNCATED: return "patch_truncated";
    case GLP1_TARGET_MISMATCH: return "target_mismatch";
    case GLP1_INDEX_MISMATCH: return "index_mismatch";
    case GLP1_NOT_REVERSIBLE: return "not_reversible";
    }
    return "unknown";
}
