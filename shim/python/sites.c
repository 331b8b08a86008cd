/*
 * Sites: whole Python stacks, each once, as nodes of a tree (parent, frame word). A thread remembers the nodes of its last stack, so
 * an allocation costs a comparison of frames and one look-up for those that changed. Sites have 16-bit numbers. A number that no
 * definition in the log names, and no live block has, can be given out again; when all the same seven eighths are in use, new
 * stacks are told by their innermost frame alone, and when all are, not at all: counted. Nodes that lead to no site are collected when
 * the tree has twice as many as the last time.
 *
 * Everything is under the GIL, but for subinterpreters with one of their own (3.12): the tree is under a lock of ours.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "defs.h"
#include "format/items.h"
#include "init.h"
#include "lock.h"
#include "python/compare.h"
#include "python/interp.h"
#include "python/marks.h"
#include "python/pystacks.h"
#include "record.h"
#include "sys.h"

#define NODES_MOST (1u << 19)
#define FIRST_SLOTS 4096u
#define SITES_MOST (TIDE_PY_SITE_OVERFLOW - 1u)
#define MEMO 2048u
#define LOOK_EVERY 4096u    /* of a thread's allocations, between looks at the clock */
#define COLLECT_FROM 16384u /* nodes */
_Static_assert(TIDE_PYSTACKS_MEMORY >= NODES_MOST / 8, "a bit a node");

struct node {
	uint64_t word;
	uint32_t parent;
	uint16_t site; /* 0: nothing was allocated with just this stack */
};

/* What a frame's node was, by what the frame was known by, and while its code object lives. */
struct memo {
	uint64_t at;
	uint32_t node; /* 0: free */
	uint32_t code; /* in mine.known */
};

/* The last block's stack, if its innermost frame is marked (stack.h): while that stands, it is enough to look at that frame. */
struct last {
	const uint8_t *frame; /* NOWHERE: there is none, or its site's number is no more */
	uint64_t at;
	int32_t mark;
	uint32_t deaths;
	uint16_t site;
};
#define NOWHERE ((const uint8_t *)1)

/* Of one thread; given back when it ends. */
struct mine {
	struct tide_py_stack stack; /* known[i]: the node of the stack up to frame i */
	struct last last;
	uint32_t until_look; /* blocks */
	struct memo memo[MEMO];
	const struct tide_py_known *known; /* tide_py_known, when what is in the memo was looked up */
	struct mine *next;                 /* free ones */
	struct mine *all;                  /* every one there is */
};

static __thread struct {
	struct mine *mine;
	bool retired; /* past the destructor */
} self __attribute__((tls_model("initial-exec")));

static struct {
	struct tide_lock lock;
	struct node *node; /* NODES_MOST; 0 is the root */
	uint32_t nodes;
	uint32_t *slot; /* open addressing; 0 free */
	uint32_t mask, slot_room;
	uint32_t *site_node; /* by site */
	uint32_t sites;      /* numbers ever given out */
	uint16_t *spare;     /* numbers that can be given out again */
	uint32_t spares;
	uint64_t sweep_at, sweep_cost; /* ticks: not before; of the last one */
	struct tide_py_site_set *defined, *swept;
	uint32_t cut;        /* the node of CUT_LIMIT below the root */
	uint32_t collect_at; /* nodes */
	bool collect;        /* at the next look: numbers that nobody needs were just taken back */
	struct mine *free, *all;
	uint8_t *batch;
	pthread_key_t key;
	bool has_key;
} tree;

static void thread_ends(void *arg)
{
	struct mine *m = arg;
	self.mine = NULL;
	self.retired = true;
	if (!tide_lock_within(&tree.lock))
		return;
	m->next = tree.free;
	tree.free = m;
	tide_unlock(&tree.lock);
}

static uint32_t hash_of(uint32_t parent, uint64_t word)
{
	return (uint32_t)(((word ^ (uint64_t)parent << 20) * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static uint32_t *slot_of(uint32_t parent, uint64_t word)
{
	uint32_t i = hash_of(parent, word);
	for (;; i++) {
		uint32_t *slot = &tree.slot[i & tree.mask];
		if (!*slot || (tree.node[*slot].word == word && tree.node[*slot].parent == parent))
			return slot;
	}
}

static void index_nodes(uint32_t slots)
{
	tree.mask = slots - 1;
	memset(tree.slot, 0, slots * sizeof *tree.slot);
	for (uint32_t i = 1; i < tree.nodes; i++)
		*slot_of(tree.node[i].parent, tree.node[i].word) = i;
}

/* Lock held. Room for twice as many nodes, if there is memory. */
static bool grow(void)
{
	uint32_t slots = tree.slot ? 2 * (tree.mask + 1) : FIRST_SLOTS;
	if (slots > tree.slot_room) {
		uint32_t *bigger = tide_sys_memory(slots * sizeof *bigger);
		if (!bigger)
			return false;
		if (tree.slot)
			tide_sys_munmap(tree.slot, tree.slot_room * sizeof *tree.slot);
		tree.slot = bigger;
		tree.slot_room = slots;
	}
	index_nodes(slots);
	return true;
}

/* Lock held. 0: no room. */
static uint32_t child_of(uint32_t parent, uint64_t word)
{
	uint32_t *slot = slot_of(parent, word);
	if (*slot)
		return *slot;
	if (tree.nodes == NODES_MOST)
		return 0;
	if (tree.nodes > tree.mask / 4 * 3) {
		if (!grow())
			return 0;
		slot = slot_of(parent, word);
	}
	tree.node[tree.nodes] = (struct node){.word = word, .parent = parent};
	return *slot = tree.nodes++;
}

void tide_py_sites_init(void)
{
	tree.node = tide_sys_memory(NODES_MOST * sizeof *tree.node);
	tree.site_node = tide_sys_memory((SITES_MOST + 1) * sizeof *tree.site_node);
	tree.spare = tide_sys_memory((SITES_MOST + 1) * sizeof *tree.spare);
	tree.defined = tide_sys_memory(2 * sizeof *tree.defined);
	tree.swept = tree.defined + 1;
	tree.nodes = 1;
	tree.collect_at = COLLECT_FROM;
	if (!tree.node || !tree.site_node || !tree.spare || !tree.defined || !grow() ||
	    !(tree.cut = child_of(0, TIDE_WORD_CUT_LIMIT)))
		tree.node = NULL;
	/* without a key, memory of threads that end is not given back */
	tree.has_key = pthread_key_create(&tree.key, thread_ends) == 0;
}

static struct mine *take_mine(void)
{
	struct mine *m = NULL;
	if (self.retired || !tree.node || !tide_trylock(&tree.lock))
		return NULL;
	if (tree.free) {
		m = tree.free;
		tree.free = m->next;
	} else if ((m = tide_sys_memory(sizeof *m))) {
		m->until_look = tree.all ? LOOK_EVERY : 1; /* the first block of all tells something */
		m->all = tree.all;
		tree.all = m;
	}
	tide_unlock(&tree.lock);
	if (!m)
		return NULL;
	m->stack.alone = true;
	m->last.frame = NOWHERE;
	self.mine = m;
	if (tree.has_key)
		pthread_setspecific(tree.key,
				    m); /* may allocate beyond key 31: with malloc, which is no business of ours */
	return m;
}

static bool nearly_full(void)
{
	return tree.sites - tree.spares >= SITES_MOST / 8 * 7 || tree.nodes >= NODES_MOST / 8 * 7;
}

/* Another interpreter with a lock of its own might be using a number while we find that nobody does. */
static bool is_alone(void)
{
	if (tide_py.version->minor < 12)
		return true;
	return tide_py.first_interpreter && tide_py.next_interpreter &&
	       !tide_py.next_interpreter(tide_py.first_interpreter());
}

/* Lock held. Takes back the numbers that nobody needs. */
static void take_back(const struct tide_py_site_set *live)
{
	for (uint32_t site = 1; site <= tree.sites; site++) {
		uint64_t bit = UINT64_C(1) << (site % 64);
		struct node *n = &tree.node[tree.site_node[site]];
		if ((live->bit[site / 64] | tree.defined->bit[site / 64]) & bit || n->site != site)
			continue;
		n->site = 0;
		tree.spare[tree.spares++] = (uint16_t)site;
	}
	for (struct mine *m = tree.all; m; m = m->all)
		m->last.frame = NOWHERE;
	tree.collect = tree.nodes >= tree.collect_at;
}

static bool is_full_enough(void)
{
	return tree.sites - tree.spares >= SITES_MOST / 2 || (tree.nodes >= tree.collect_at && !tree.collect);
}

/* Many numbers or nodes are in use: which are still needed? At most one part in fifty of the time is spent on finding out. */
__attribute__((noinline)) static void sweep(void)
{
	uint64_t begin = tide_ticks();
	if (begin < tree.sweep_at || !is_alone())
		return;
	bool whole = tide_py_live_sites(tree.swept);
	uint64_t now = tide_ticks(), cost = now - begin;
	if (tree.sweep_cost && cost > 4 * tree.sweep_cost)
		cost = 4 * tree.sweep_cost; /* others had the processor meanwhile */
	tree.sweep_cost = cost;
	tree.sweep_at = now + 50 * cost;
	if (!whole || !tide_trylock(&tree.lock))
		return;
	take_back(tree.swept);
	tide_unlock(&tree.lock);
}

static inline struct memo *memo_of(struct mine *m, uint32_t parent, uint64_t at)
{
	return &m->memo[((at ^ (uint64_t)parent << 7) * UINT64_C(0x9e3779b97f4a7c15)) >> 53];
}
_Static_assert(MEMO == 1u << (64 - 53), "memo's hash");

/* The node of frame i, below `parent`. 0: it cannot be told. */
__attribute__((noinline)) static uint32_t learn(struct mine *m, uint32_t parent, uint32_t i)
{
	struct tide_py_stack *s = &m->stack;
	if (s->empty[i])
		return parent;
	uint64_t word = tide_py_stack_word(s, i);
	if (!word || !tide_trylock(&tree.lock))
		return 0;
	uint32_t node = child_of(nearly_full() ? tree.cut : parent, word);
	tide_unlock(&tree.lock);
	/* a code object that could not be defined now may be later */
	const struct tide_py_known *k = tide_word_code(word) ? tide_py_known_code(tide_py_stack_code(s, i)) : NULL;
	if (k && m->known && m->known == atomic_load_explicit(&tide_py_known, memory_order_acquire))
		*memo_of(m, parent, s->seen[i].at) = (struct memo){s->seen[i].at, node, (uint32_t)(k - m->known)};
	return node;
}

/* The code object has not died since. */
static inline bool is_as_known(const struct mine *m, const struct memo *k)
{
	uint32_t id = atomic_load_explicit(&m->known[k->code].id, memory_order_relaxed);
	return id == tide_word_code(tree.node[k->node].word);
}

static inline uint32_t node_of(struct mine *m, uint32_t parent, uint32_t i)
{
	uint64_t at = m->stack.seen[i].at;
	const struct memo *k = memo_of(m, parent, at);
	const struct node *n = &tree.node[k->node];
	if (__builtin_expect(k->at == at && k->node && (n->parent == parent || n->parent == tree.cut), 1) &&
	    __builtin_expect(is_as_known(m, k), 1))
		return k->node;
	return learn(m, parent, i);
}

/* Lock held. 0: no number is left. */
static uint16_t number_for(uint32_t node)
{
	/* the last eighth is for innermost frames, each by itself */
	if (node && nearly_full() && tree.node[node].parent != tree.cut)
		node = child_of(tree.cut, tree.node[node].word);
	if (tree.node[node].site)
		return tree.node[node].site;
	if (!tree.spares && tree.sites >= SITES_MOST)
		return 0;
	uint16_t site = tree.spares ? tree.spare[--tree.spares] : (uint16_t)++tree.sites;
	tree.site_node[site] = node;
	tree.node[node].site = site;
	return site;
}

__attribute__((noinline)) static uint16_t new_site(uint32_t node)
{
	if (is_full_enough())
		sweep();
	if (!tide_trylock(&tree.lock))
		return TIDE_PY_SITE_UNKNOWN;
	uint16_t site = number_for(node);
	tide_unlock(&tree.lock);
	if (site)
		return site;
	tide_count_loss(TIDE_LOSS_SITES, 1);
	return TIDE_PY_SITE_OVERFLOW;
}

/* Nodes of frames `i` and further in, which are not known. Returns the innermost's, UINT32_MAX: it cannot be told. */
__attribute__((noinline)) static uint32_t name_frames(struct mine *m, uint32_t i)
{
	struct tide_py_stack *s = &m->stack;
	uint32_t node = i ? (uint32_t)s->known[i - 1] : s->base ? tree.cut : 0;
	const struct tide_py_known *known = atomic_load_explicit(&tide_py_known, memory_order_acquire);
	if (__builtin_expect(m->known != known, 0)) {
		m->known = known;
		memset(m->memo, 0, sizeof m->memo);
	}
	for (; i < s->depth; i++) {
		node = node_of(m, node, i);
		s->known[i] = node;
		if (__builtin_expect(!node && !s->empty[i], 0)) {
			s->depth = 0; /* not to be taken for known the next time */
			return UINT32_MAX;
		}
	}
	return node;
}

/* The calling thread's, which has the GIL. Where that is not sure, the slow way. */
static inline const uint8_t *own_state(void)
{
	const uint8_t *state = tide_py.holder_state();
	pthread_t of = 0;
	if (state)
		memcpy(&of, state + tide_py.version->thread_id, sizeof of);
	return __builtin_expect(of == (pthread_t)__builtin_thread_pointer(), 1) ? state : tide_py.thread_state();
}

static inline uint16_t site_of(uint32_t node)
{
	if (__builtin_expect(node == UINT32_MAX, 0))
		return TIDE_PY_SITE_UNKNOWN;
	uint16_t site = tree.node[node].site;
	return __builtin_expect(site != 0, 1) ? site : new_site(node);
}

/* The bits of nodes that are a site's or lead to one. A parent's number is less than its children's. */
static void find_needed(uint64_t *bits)
{
	memset(bits, 0, NODES_MOST / 8);
	bits[tree.cut / 64] |= UINT64_C(1) << (tree.cut % 64);
	for (uint32_t i = tree.nodes; i-- > 1;) {
		uint32_t parent = tree.node[i].parent;
		if (!tree.node[i].site && !(bits[i / 64] >> (i % 64) & 1))
			continue;
		bits[i / 64] |= UINT64_C(1) << (i % 64);
		bits[parent / 64] |= UINT64_C(1) << (parent % 64);
	}
}

/* Moves those that are needed together, in their order; `to` has a word for each node. */
static uint32_t move_together(const uint64_t *bits, uint32_t *to)
{
	uint32_t nodes = 1;
	to[0] = 0;
	for (uint32_t i = 1; i < tree.nodes; i++) {
		struct node n = tree.node[i];
		if (!(bits[i / 64] >> (i % 64) & 1))
			continue;
		n.parent = to[n.parent];
		to[i] = nodes;
		if (n.site)
			tree.site_node[n.site] = nodes;
		tree.node[nodes++] = n;
	}
	tree.cut = to[tree.cut];
	return nodes;
}

/* The kernel may have what is behind `used` bytes of memory that was used up to `before`. */
static void give_back(void *memory, size_t used, size_t before)
{
	used = (used + TIDE_PAGE - 1) / TIDE_PAGE * TIDE_PAGE;
	if (used < before)
		tide_sys_madvise((uint8_t *)memory + used, before - used, MADV_DONTNEED);
}

/* Lock and GIL held, no number of a node in anybody's hands: no thread is between the frames of its stack. */
static void collect(void)
{
	uint32_t slots = tree.mask + 1, fewer = FIRST_SLOTS, before = tree.nodes;
	find_needed((uint64_t *)tree.batch);
	/* there are more slots than nodes, and they are filled anew */
	tree.nodes = move_together((const uint64_t *)tree.batch, tree.slot);
	while (fewer < slots && fewer / 2 < tree.nodes)
		fewer *= 2;
	index_nodes(fewer);
	give_back(tree.slot, fewer * sizeof *tree.slot, slots * sizeof *tree.slot);
	give_back(tree.node, tree.nodes * sizeof *tree.node, before * sizeof *tree.node);
	for (struct mine *m = tree.all; m; m = m->all) {
		m->stack.depth = 0;
		m->last.frame = NOWHERE;
		memset(m->memo, 0, sizeof m->memo);
	}
	tree.collect_at = tree.nodes < COLLECT_FROM / 2 ? COLLECT_FROM : 2 * tree.nodes;
}

__attribute__((noinline)) static void collect_if_due(void)
{
	if (!tree.batch)
		tree.batch = tide_sys_memory(TIDE_PYSTACKS_MEMORY);
	if (!tree.batch || !is_alone() || !tide_trylock(&tree.lock))
		return;
	tree.collect = false;
	collect();
	tide_unlock(&tree.lock);
}

__attribute__((noinline)) static void *look(struct mine *m, void *block)
{
	m->until_look = LOOK_EVERY;
	tide_py_learn_skew(block);
	tide_adopt_file(); /* a forked child that allocates so much is worth a log, though it wrote few events */
	tide_record_look();
	if (tree.collect)
		collect_if_due();
	return block;
}

/* The block has its mark. */
static inline void *done(struct mine *m, void *block)
{
	return __builtin_expect(--m->until_look == 0, 0) ? look(m, block) : block;
}

/* A thread's first block, or one of a thread that can have no stack. */
__attribute__((noinline)) static struct mine *first_of_thread(const void *block)
{
	uint16_t *at = tide_py_mark_of(block);
	struct mine *m = at ? take_mine() : NULL;
	if (at && !m)
		*at = TIDE_PY_SITE_UNKNOWN;
	return m;
}

/* *at becomes the site of a stack that is not known to be the last block's. */
static void mark_as_found(struct mine *m, uint16_t *at, const uint8_t *frame)
{
	struct tide_py_stack *s = &m->stack;
	uint32_t limit = tide_config.stack_limit, same = tide_py_stack_update(s, limit ? frame : NULL, limit);
	uint32_t node = same == s->depth && same ? (uint32_t)s->known[same - 1] : name_frames(m, same);
	*at = site_of(node);
	m->last.frame = NOWHERE;
	if (!s->depth)
		tide_record_look(); /* an interpreter that finalizes runs without frames */
	else if (*at != TIDE_PY_SITE_UNKNOWN && *at != TIDE_PY_SITE_OVERFLOW && s->mark)
		m->last = (struct last){frame, s->seen[s->depth - 1].at, s->mark, s->deaths, *at};
}

__attribute__((noinline)) static void *mark_slowly(void *block, const uint8_t *frame)
{
	struct mine *m = self.mine ? self.mine : first_of_thread(block);
	uint16_t *at = m ? tide_py_mark_of(block) : NULL;
	if (!at)
		return block;
	mark_as_found(m, at, frame);
	return done(m, block);
}

/* The last block's innermost frame is at another instruction: all outside it stands. */
__attribute__((noinline)) static void *mark_moved(struct mine *m, void *block)
{
	struct tide_py_stack *s = &m->stack;
	uint32_t i = s->depth - 1, parent = i ? (uint32_t)s->known[i - 1] : s->base ? tree.cut : 0;
	uint64_t at = tide_py_instruction(m->last.frame);
	const struct memo *k = memo_of(m, parent, at);
	const struct node *n = &tree.node[k->node];
	uint16_t *mark = tide_py_mark_of(block);
	if (!mark || k->at != at || !k->node || n->parent != parent || !n->site ||
	    m->known != atomic_load_explicit(&tide_py_known, memory_order_acquire) || !is_as_known(m, k))
		return mark_slowly(block, m->last.frame);
	s->seen[i].at = m->last.at = at;
	s->known[i] = k->node;
	*mark = m->last.site = n->site;
	return done(m, block);
}

void *tide_py_mark(void *block)
{
	struct mine *m = self.mine;
	if (__builtin_expect(!block || !tide_on(), 0))
		return block;
	const uint8_t *frame = tide_py_frame_of(own_state());
	uint32_t deaths = atomic_load_explicit(&tide_py.code_deaths, memory_order_relaxed);
	if (__builtin_expect(!m || m->last.frame != frame || m->last.deaths != deaths, 0) ||
	    __builtin_expect(tide_py_running(frame) != m->last.mark, 0))
		return mark_slowly(block, frame);
	if (__builtin_expect(tide_py_instruction(frame) != m->last.at, 0))
		return mark_moved(m, block);
	uint16_t *mark = tide_py_mark_of(block);
	if (__builtin_expect(!mark, 0))
		return block;
	*mark = m->last.site;
	return done(m, block);
}

/* ---- definitions (FORMAT.md 4, PYSTACKS) ---- */

/* Words of a site's stack, outermost first. */
static uint32_t words_of(uint32_t site, uint64_t *words)
{
	uint32_t n = 0;
	for (uint32_t node = tree.site_node[site]; node && n < TIDE_STACK_MAX + 1; node = tree.node[node].parent)
		words[n++] = tree.node[node].word;
	for (uint32_t i = 0; i < n / 2; i++) {
		uint64_t word = words[i];
		words[i] = words[n - 1 - i];
		words[n - 1 - i] = word;
	}
	return n;
}

/* Lock held. */
static void define(const struct tide_py_site_set *live)
{
	struct tide_pystacks b;
	tide_pystacks_begin(&b, tree.batch);
	for (uint32_t site = 1; site <= tree.sites; site++) {
		uint64_t bit = UINT64_C(1) << (site % 64);
		if (!(live->bit[site / 64] & ~tree.defined->bit[site / 64] & bit))
			continue;
		tree.defined->bit[site / 64] |= bit;
		b.n = words_of(site, b.words);
		tide_pystacks_put(&b, site);
	}
	tide_pystacks_end(&b);
}

/* By whoever takes the census: one at a time, and not within a collection that a signal handler has interrupted. */
void tide_py_define_sites(const struct tide_py_site_set *live, bool whole)
{
	if (!tree.batch)
		tree.batch = tide_sys_memory(TIDE_PYSTACKS_MEMORY);
	if (!tree.batch || !tree.node || !tide_lock_within(&tree.lock))
		return;
	define(live);
	if (whole && is_full_enough() && is_alone())
		take_back(live);
	tide_unlock(&tree.lock);
}

/* One thread is left; what others had is free. The child's log knows no sites yet. */
void tide_py_sites_fork_child(void)
{
	tide_unlock(&tree.lock);
	if (tree.defined)
		memset(tree.defined, 0, sizeof *tree.defined);
	tree.free = NULL;
	if (self.mine)
		self.mine->until_look = LOOK_EVERY;
	for (struct mine *m = tree.all; m; m = m->all) {
		if (m == self.mine)
			continue;
		m->next = tree.free;
		tree.free = m;
	}
}
