/* The patch file (§1): parses the head, checks digests, and applies the blocks as their bytes arrive. */
#include "glp1.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "glp1_block.h"

enum { HEADER_SIZE = 128, RECORD_SIZE = 80, DIGEST_SIZE = 16, SHA256_SIZE = 32, CHUNK_SIZE = 1 << 18 };
enum { COPY, ZERO, CODED };
enum { REVERSIBLE = 1 };
enum { EXTRA_PAYLOAD = 64 << 10, ARENA_BLOCKS = 16, EXTRA_ARENA = 1 << 20 };

static const uint8_t MAGIC[8] = {0x89, 'G', 'L', 'P', 0x0D, 0x0A, 0x1A, 0x0A};
const glp1_limits GLP1_DEFAULT_LIMITS = {((64u << 20) - HEADER_SIZE) / RECORD_SIZE, 4u << 20, 96u << 20};

struct glp1 {
    glp1_io io;
    glp1_limits limits;
    uint8_t index_sha256[SHA256_SIZE];
    bool has_index_digest;
    glp1_status status; /* the first status other than OK */

    uint8_t *head_bytes; /* the raw head, from which each block's record is parsed when it is applied */
    size_t head_size, head_received;
    glp1_head head; /* valid once head_received == head_size */

    uint32_t blocks_done;
    uint32_t resumed_blocks; /* blocks that were in the target at the start */
    uint64_t target_offset, payload_offset; /* of the current block */
    glp1_record record; /* of the current block */
    uint8_t *payload; /* the received part of its payload */
    size_t payload_received;
    uint8_t *target; /* a coded block, or a chunk of a plain block */
    glp1_arena arena;
    ZSTD_DCtx *zstd;

    EVP_MD_CTX *target_hash; /* running SHA-256 of the target up to the end of the last applied block */
    EVP_MD_CTX *block_hash;  /* the same, including the current block */
    EVP_MD_CTX *scratch_hash; /* for snapshots and single digests */
};

static uint64_t u64(const uint8_t *bytes) {
    uint64_t number;
    memcpy(&number, bytes, 8);
    return number;
}

static uint32_t u32(const uint8_t *bytes) { return glp1_load(bytes, 0, 4); }

/* --- digests ------------------------------------------------------------------------------------------------------------ */

static glp1_status hash_init(EVP_MD_CTX *hash) {
    return EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 ? GLP1_OK : GLP1_NO_MEMORY;
}

static glp1_status hash_update(EVP_MD_CTX *hash, const uint8_t *bytes, size_t size) {
    return EVP_DigestUpdate(hash, bytes, size) == 1 ? GLP1_OK : GLP1_NO_MEMORY;
}

/* The digest of the bytes so far; the hash can continue afterwards. */
static glp1_status hash_snapshot(glp1 *p, EVP_MD_CTX *hash, uint8_t digest[SHA256_SIZE]) {
    bool done = EVP_MD_CTX_copy_ex(p->scratch_hash, hash) == 1 && EVP_DigestFinal_ex(p->scratch_hash, digest, NULL) == 1;
    return done ? GLP1_OK : GLP1_NO_MEMORY;
}

static glp1_status hash_bytes(glp1 *p, const uint8_t *bytes, size_t size, uint8_t digest[SHA256_SIZE]) {
    TRY(hash_init(p->scratch_hash));
    TRY(hash_update(p->scratch_hash, bytes, size));
    return EVP_DigestFinal_ex(p->scratch_hash, digest, NULL) == 1 ? GLP1_OK : GLP1_NO_MEMORY;
}

/* --- head --------------------------------------------------------------------------------------------------------------- */

/* Reads only the fields that give the head's size, because the head is not verified yet. */
static glp1_status read_head_size(glp1 *p) {
    const uint8_t *h = p->head_bytes;
    MUST(memcmp(h, MAGIC, sizeof MAGIC) == 0);
    bool known = glp1_load(h, 4, 2) == 1 && glp1_load(h, 5, 2) == HEADER_SIZE; /* version, offset of the records */
    if (!known || (u32(h + 12) & ~(uint32_t)REVERSIBLE) || u32(h + 60)) return GLP1_PATCH_UNSUPPORTED;
    uint32_t blocks = u32(h + 40);
    if (blocks > p->limits.blocks) return GLP1_PATCH_TOO_LARGE;
    p->head_size = HEADER_SIZE + (size_t)RECORD_SIZE * blocks;
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
    memcpy(head->source_sha256, h + 64, SHA256_SIZE);
    memcpy(head->target_sha256, h + 96, SHA256_SIZE);
}

static void read_record(const uint8_t *r, glp1_record *record) {
    record->target_size = u32(r);
    record->payload_size = u32(r + 4);
    record->source_offset = u64(r + 8);
    record->source_span = u64(r + 16);
    record->source_size = u32(r + 24);
    record->operation = r[28];
    record->reversible = r[29];
    memcpy(record->payload_digest, r + 32, DIGEST_SIZE);
    memcpy(record->target_digest, r + 64, DIGEST_SIZE);
}

static glp1_status check_record(const glp1_head *head, const uint8_t *bytes, glp1_record *r) {
    read_record(bytes, r);
    if (r->operation > CODED || r->reversible > 1 || bytes[30] || bytes[31]) return GLP1_PATCH_UNSUPPORTED;
    MUST(r->target_size > 0);
    MUST(r->source_offset <= head->source_size && r->source_span <= head->source_size - r->source_offset);
    MUST(r->reversible || !(head->flags & REVERSIBLE));
    if (r->operation == CODED) {
        MUST(r->target_size <= head->block_limit);
        MUST(r->payload_size <= (uint64_t)head->block_limit + EXTRA_PAYLOAD);
        return GLP1_OK;
    }
    uint32_t reads = r->operation == COPY ? r->target_size : 0;
    MUST(r->payload_size == 0 && r->source_span == reads && r->source_size == reads);
    return GLP1_OK;
}

static glp1_status check_records(glp1 *p) {
    const glp1_head *head = &p->head;
    uint64_t target = 0, payload = 0; /* sums of at most 2^32 numbers of 32 bits cannot overflow */
    for (uint32_t i = 0; i < head->blocks; i++) {
        TRY(check_record(head, p->head_bytes + HEADER_SIZE + (size_t)RECORD_SIZE * i, &p->record));
        target += p->record.target_size;
        payload += p->record.payload_size;
    }
    MUST(target == head->target_size && payload == head->payload_size);
    MUST(head->blocks == 0 || memcmp(p->record.target_digest, head->target_sha256, DIGEST_SIZE) == 0);
    return GLP1_OK;
}

static glp1_status check_head(glp1 *p) {
    uint8_t digest[SHA256_SIZE];
    TRY(hash_bytes(p, p->head_bytes, p->head_size, digest));
    if (p->has_index_digest && memcmp(digest, p->index_sha256, SHA256_SIZE) != 0) return GLP1_INDEX_MISMATCH;
    read_head(p->head_bytes, &p->head);
    if (p->head.block_limit > p->limits.block_limit || p->head.working_set > p->limits.working_set)
        return GLP1_PATCH_TOO_LARGE;
    return check_records(p);
}

static glp1_status allocate_buffers(glp1 *p) {
    size_t limit = p->head.block_limit;
    p->arena.size = ARENA_BLOCKS * limit + EXTRA_ARENA;
    p->arena.base = malloc(p->arena.size);
    p->payload = malloc(limit + EXTRA_PAYLOAD);
    p->target = malloc(limit > CHUNK_SIZE ? limit : CHUNK_SIZE);
    p->zstd = ZSTD_createDCtx();
    return p->arena.base && p->payload && p->target && p->zstd ? GLP1_OK : GLP1_NO_MEMORY;
}

/* Loads the record of the current block, if there is one. */
static void load_record(glp1 *p) {
    p->payload_received = 0;
    if (p->blocks_done < p->head.blocks)
        read_record(p->head_bytes + HEADER_SIZE + (size_t)RECORD_SIZE * p->blocks_done, &p->record);
}

static void advance(glp1 *p) {
    p->target_offset += p->record.target_size;
    p->payload_offset += p->record.payload_size;
    p->blocks_done++;
    load_record(p);
}

/* Hashes the existing part of the target, and checks it against the record of its last block. */
static glp1_status resume(glp1 *p) {
    uint8_t wanted[DIGEST_SIZE], digest[SHA256_SIZE];
    if (p->resumed_blocks > p->head.blocks || p->io.read_target == NULL) return GLP1_WRONG_USE;
    while (p->blocks_done < p->resumed_blocks) {
        memcpy(wanted, p->record.target_digest, DIGEST_SIZE);
        advance(p);
    }
    for (uint64_t at = 0; at < p->target_offset;) {
        size_t size = p->target_offset - at < CHUNK_SIZE ? (size_t)(p->target_offset - at) : CHUNK_SIZE;
        if (p->io.read_target(p->io.user, at, p->target, size) != 0) return GLP1_TARGET_MISMATCH;
        TRY(hash_update(p->target_hash, p->target, size));
        at += size;
    }
    TRY(hash_snapshot(p, p->target_hash, digest));
    return memcmp(digest, wanted, DIGEST_SIZE) == 0 ? GLP1_OK : GLP1_TARGET_MISMATCH;
}

static glp1_status open_head(glp1 *p) {
    TRY(check_head(p));
    if (p->io.accept != NULL) TRY(p->io.accept(p->io.user, &p->head));
    TRY(allocate_buffers(p));
    load_record(p);
    return p->resumed_blocks ? resume(p) : GLP1_OK;
}

/* --- blocks ------------------------------------------------------------------------------------------------------------- */

static glp1_status write_target(const glp1 *p, uint64_t offset, const uint8_t *bytes, size_t size) {
    return p->io.write_target(p->io.user, offset, bytes, size) == 0 ? GLP1_OK : GLP1_WRITE_FAILED;
}

/* Applies a copy or zero block in chunks, because it may be long; it is written while it is hashed. */
static glp1_status apply_plain_block(glp1 *p) {
    const glp1_record *r = &p->record;
    if (r->operation == ZERO) memset(p->target, 0, CHUNK_SIZE);
    for (uint32_t at = 0; at < r->target_size;) {
        size_t size = r->target_size - at < CHUNK_SIZE ? r->target_size - at : CHUNK_SIZE;
        if (r->operation == COPY && p->io.read_source(p->io.user, r->source_offset + at, p->target, size) != 0)
            return GLP1_BASE_MISSING;
        TRY(hash_update(p->block_hash, p->target, size));
        TRY(write_target(p, p->target_offset + at, p->target, size));
        at += (uint32_t)size;
    }
    return GLP1_OK;
}

static glp1_status apply_coded_block(glp1 *p) {
    const glp1_record *r = &p->record;
    uint8_t digest[SHA256_SIZE];
    TRY(hash_bytes(p, p->payload, r->payload_size, digest));
    MUST(memcmp(digest, r->payload_digest, DIGEST_SIZE) == 0);
    p->arena.used = 0;
    glp1_decoder decoder = {p->payload, p->payload + r->payload_size, &p->arena, p->zstd, &p->io};
    TRY(glp1_decode_block(&decoder, r, p->target));
    return hash_update(p->block_hash, p->target, r->target_size);
}

static glp1_status apply_block(glp1 *p) {
    uint8_t digest[SHA256_SIZE];
    if (EVP_MD_CTX_copy_ex(p->block_hash, p->target_hash) != 1) return GLP1_NO_MEMORY;
    TRY(p->record.operation == CODED ? apply_coded_block(p) : apply_plain_block(p));
    TRY(hash_snapshot(p, p->block_hash, digest));
    if (memcmp(digest, p->record.target_digest, DIGEST_SIZE) != 0) return GLP1_BASE_MISMATCH;
    if (p->record.operation == CODED) TRY(write_target(p, p->target_offset, p->target, p->record.target_size));
    EVP_MD_CTX *done = p->block_hash;
    p->block_hash = p->target_hash;
    p->target_hash = done;
    advance(p);
    return GLP1_OK;
}

/* --- input -------------------------------------------------------------------------------------------------------------- */

/* Copies input bytes until `have` is `wanted`, or the input ends. */
static bool collect(uint8_t *into, size_t *have, size_t wanted, const uint8_t **bytes, size_t *size) {
    size_t missing = wanted - *have, taken = missing < *size ? missing : *size;
    if (taken) memcpy(into + *have, *bytes, taken);
    *have += taken;
    *bytes += taken;
    *size -= taken;
    return *have == wanted;
}

static glp1_status feed_head(glp1 *p, const uint8_t **bytes, size_t *size) {
    if (p->head_size == HEADER_SIZE) {
        if (!collect(p->head_bytes, &p->head_received, HEADER_SIZE, bytes, size)) return GLP1_OK;
        TRY(read_head_size(p));
    }
    if (!collect(p->head_bytes, &p->head_received, p->head_size, bytes, size)) return GLP1_OK;
    return open_head(p);
}

static glp1_status feed_blocks(glp1 *p, const uint8_t **bytes, size_t *size) {
    while (p->blocks_done < p->head.blocks) {
        if (!collect(p->payload, &p->payload_received, p->record.payload_size, bytes, size)) return GLP1_OK;
        TRY(apply_block(p));
    }
    return GLP1_OK;
}

static bool head_is_parsed(const glp1 *p) { return p->zstd != NULL; }

glp1_status glp1_feed(glp1 *p, const uint8_t *bytes, size_t size) {
    if (p->status != GLP1_OK) return p->status;
    if (!head_is_parsed(p)) {
        p->status = feed_head(p, &bytes, &size);
        if (p->resumed_blocks) size = 0; /* bytes after the head belong to blocks that are done */
    }
    if (p->status == GLP1_OK && head_is_parsed(p)) p->status = feed_blocks(p, &bytes, &size);
    return p->status;
}

int glp1_is_complete(const glp1 *p) { return head_is_parsed(p) && p->blocks_done == p->head.blocks; }

glp1_status glp1_finish(glp1 *p) {
    uint8_t digest[SHA256_SIZE];
    TRY(p->status);
    if (!glp1_is_complete(p)) return GLP1_PATCH_TRUNCATED;
    TRY(hash_snapshot(p, p->target_hash, digest));
    return memcmp(digest, p->head.target_sha256, SHA256_SIZE) == 0 ? GLP1_OK : GLP1_TARGET_MISMATCH;
}

uint64_t glp1_position(const glp1 *p) {
    return head_is_parsed(p) ? p->head_size + p->payload_offset + p->payload_received : p->head_received;
}

uint32_t glp1_blocks_done(const glp1 *p) { return p->blocks_done; }

glp1 *glp1_new(const glp1_io *io, const glp1_limits *limits, const uint8_t *index_sha256, uint32_t blocks_done) {
    glp1 *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->io = *io;
    p->limits = limits ? *limits : GLP1_DEFAULT_LIMITS;
    p->has_index_digest = index_sha256 != NULL;
    if (index_sha256) memcpy(p->index_sha256, index_sha256, SHA256_SIZE);
    p->resumed_blocks = blocks_done;
    p->head_size = HEADER_SIZE;
    p->head_bytes = malloc(HEADER_SIZE);
    p->target_hash = EVP_MD_CTX_new();
    p->block_hash = EVP_MD_CTX_new();
    p->scratch_hash = EVP_MD_CTX_new();
    if (p->head_bytes && p->target_hash && p->block_hash && p->scratch_hash && hash_init(p->target_hash) == GLP1_OK) return p;
    glp1_free(p);
    return NULL;
}

void glp1_free(glp1 *p) {
    if (p == NULL) return;
    EVP_MD_CTX_free(p->scratch_hash);
    EVP_MD_CTX_free(p->block_hash);
    EVP_MD_CTX_free(p->target_hash);
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
