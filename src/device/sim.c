#include "device/sim.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/lock.h"
#include "base/random.h"
#include "device/driver.h"
#include "device/sim_fault.h"
#include "device/sim_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A request is executed in device_submit(), or waits in the list of pending ones: every request
 * when completions are reordered, else only writes held back. A pending one is executed when
 * somebody waits. In both cases its completion follows, outside the lock.
 */
struct sim_medium {
	struct mutex lock; /* rank LOCK_DEVICE_QUEUE; guards all that follows */
	struct condition changed;

	struct sim_store store;
	struct sim_stats stats;
	uint64_t read_hash;
	uint64_t began; /* stamp of the newest write when it was made or its power came on */
	struct rng rng;

	bool is_on;
	uint64_t cut_call; /* the power fails in this call; 0: in none */

	sim_hook hook;
	void *hook_context;
	sim_listener listener;
	void *listener_context;

	struct sim_fault_table faults;

	bool reorders;
	bool orders_barriers;
	struct device_io *pending; /* device_io.next, in the order of submission; borrowed */

	/* Handles of this period that hold the lock of openers. */
	bool has_writer;
	uint32_t readers;
};

/* A handle. */
struct sim {
	struct device device; /* first */
	struct sim_medium *medium;
	uint64_t period; /* of the medium when it was opened; dead in any later one */
	bool owns_medium;
	bool holds_lock;
};

/* What `driver_number` of a request says. A flush: the newest write that it covers. */
enum { REQUEST_READY = 0, REQUEST_HELD = 1 };

static bool
is_changing(const struct device_io *io)
{
	return io->op != DEVICE_READ;
}

/* ---- Execution ------------------------------------------------------------------------------ */

/* The block `index` of a request's buffers. */
static uint8_t *
io_block(const struct device_io *io, uint64_t index)
{
	uint64_t bytes = index * BLOCK_BYTES;

	for (uint32_t i = 0; i < io->iov_count; i++) {
		if (bytes < io->iov[i].iov_len)
			return (uint8_t *)io->iov[i].iov_base + bytes;
		bytes -= io->iov[i].iov_len;
	}
	assert(false); /* a block past the buffers */
	return NULL;
}

/*
 * Every read of a block goes into the hash of all that was read, and to whoever listens. What was
 * written since then follows from what had been read before.
 */
static void
note_read_locked(struct sim_medium *medium, const struct sim_look *look)
{
	uint8_t note[24];

	if (!look->err && sim_store__written(&medium->store, look->addr) > medium->began)
		return;
	put_le64(note, medium->read_hash);
	put_le64(note + 8, look->addr);
	put_le64(note + 16, look->hash);
	medium->read_hash = hash64(note, sizeof note, (uint64_t)(int64_t)look->err);
	if (medium->listener)
		medium->listener(medium->listener_context, look);
}

static int
do_read(struct sim_medium *medium, const struct device_io *io)
{
	const struct sim_fault *fault;

	medium->stats.reads++;
	fault = sim_fault__find(&medium->faults, io, SIM_AT_EXECUTION);
	for (uint64_t i = 0; i < io->blocks; i++) {
		struct sim_look look = { .addr = io->addr + i, .blocks = io->blocks - i };

		look.err = fault ? fault->code : sim_store__look(&medium->store, look.addr, &look);
		if (!look.err)
			memcpy(io_block(io, i), look.bytes, BLOCK_BYTES);
		note_read_locked(medium, &look);
		if (look.err)
			return look.err;
	}
	return 0;
}

static int
do_write(struct sim_medium *medium, const struct device_io *io)
{
	enum sim_store_durability durability = io->flags & DEVICE_FUA ? SIM_DURABLE : SIM_CACHED;
	const struct sim_fault *fault;

	medium->stats.writes++;
	fault = sim_fault__find(&medium->faults, io, SIM_AT_EXECUTION);
	if (fault && fault->kind == SIM_FAIL_WRITE)
		return fault->code;
	/* A forced write behind a barrier takes all from before the barrier with it. */
	if (durability == SIM_DURABLE && medium->store.epoch > 0) {
		int err = sim_store__flush(&medium->store, medium->store.epoch_stamp);

		if (err)
			return err;
	}
	for (uint64_t i = 0; i < io->blocks; i++) {
		uint64_t addr;
		int err;

		if (!sim_fault__target(fault, io, io->addr + i, &addr) ||
			addr >= medium->store.blocks)
			continue;
		err = sim_store__write(&medium->store, addr, io_block(io, i), durability);
		if (err)
			return err;
	}
	return 0;
}

static int
do_flush(struct sim_medium *medium, const struct device_io *io)
{
	const struct sim_fault *fault;
	int err;

	medium->stats.flushes++;
	fault = sim_fault__find(&medium->faults, io, SIM_AT_EXECUTION);
	if (!fault)
		return sim_store__flush(&medium->store, io->driver_number);
	err = sim_store__forget(&medium->store);
	return err ? err : fault->code;
}

/* The contents become something that nobody wrote. */
static int
do_discard(struct sim_medium *medium, const struct device_io *io)
{
	uint8_t block[BLOCK_BYTES];

	medium->stats.discards++;
	memset(block, 0xdd, sizeof block);
	for (uint64_t i = 0; i < io->blocks; i++) {
		int err = sim_store__write(&medium->store, io->addr + i, block, SIM_CACHED);

		if (err)
			return err;
	}
	return 0;
}

/*
 * A write that the power cut met on its way: newest candidate of its blocks. A block for which
 * there is no memory counts as one that was not reached.
 */
static void
leave_in_flight(struct sim_store *store, const struct device_io *io)
{
	if (io->op != DEVICE_WRITE)
		return;
	for (uint64_t i = 0; i < io->blocks; i++) {
		int err = sim_store__write(store, io->addr + i, io_block(io, i), SIM_CACHED);

		if (err)
			err_clear();
	}
}

static void
power_off_locked(struct sim_medium *medium, const struct device_io *in_flight)
{
	mutex_assert_held(&medium->lock);
	if (!medium->is_on)
		return;
	medium->is_on = false;
	if (in_flight)
		leave_in_flight(&medium->store, in_flight);
	for (const struct device_io *io = medium->pending; io; io = io->next)
		leave_in_flight(&medium->store, io);
}

static bool
handle_is_alive_locked(const struct sim *sim)
{
	return sim->medium->is_on && sim->period == sim->medium->store.period;
}

static int
execute_locked(struct sim *sim, const struct device_io *io)
{
	struct sim_medium *medium = sim->medium;

	mutex_assert_held(&medium->lock);
	if (!handle_is_alive_locked(sim))
		return COP_EIO;
	if (is_changing(io) && ++medium->stats.calls == medium->cut_call) {
		power_off_locked(medium, io);
		return COP_EIO;
	}
	switch (io->op) {
	case DEVICE_READ:
		return do_read(medium, io);
	case DEVICE_WRITE:
		return do_write(medium, io);
	case DEVICE_DISCARD:
		return do_discard(medium, io);
	case DEVICE_FLUSH:
		return do_flush(medium, io);
	}
	return COP_EINVAL;
}

static int
execute(struct sim *sim, const struct device_io *io)
{
	struct sim_medium *medium = sim->medium;
	sim_hook hook = NULL;
	void *context;
	uint64_t call;
	int result;

	mutex_lock(&medium->lock);
	if (is_changing(io) && handle_is_alive_locked(sim))
		hook = medium->hook;
	context = medium->hook_context;
	call = medium->stats.calls + 1;
	mutex_unlock(&medium->lock);

	if (hook)
		hook(context, medium, call);

	mutex_lock(&medium->lock);
	result = execute_locked(sim, io);
	mutex_unlock(&medium->lock);
	return result;
}

/* Executes and completes; the request is gone afterwards. */
static void
finish(struct sim *sim, struct device_io *io)
{
	struct sim_medium *medium = sim->medium;
	int result = execute(sim, io);

	device_flight_end(&sim->device, 1);
	device_complete(&sim->device, io, result);

	/* Whoever waits for it looks under this lock. */
	mutex_lock(&medium->lock);
	condition_wake_all(&medium->changed);
	mutex_unlock(&medium->lock);
}

/* ---- The driver ----------------------------------------------------------------------------- */

static void
pend_locked(struct sim_medium *medium, struct device_io *io)
{
	struct device_io **link = &medium->pending;

	while (*link)
		link = &(*link)->next;
	io->next = NULL;
	*link = io;
}

static void
unlink_locked(struct sim_medium *medium, struct device_io *io)
{
	struct device_io **link = &medium->pending;

	while (*link != io)
		link = &(*link)->next;
	*link = io->next;
	io->next = NULL;
}

static bool
is_held(const struct device_io *io)
{
	return io->op == DEVICE_WRITE && io->driver_number == REQUEST_HELD;
}

/* A ready request of the list, by chance; NULL when none is. */
static struct device_io *
pick_ready_locked(struct sim_medium *medium)
{
	struct device_io *picked = NULL;
	uint64_t seen = 0;

	for (struct device_io *io = medium->pending; io; io = io->next) {
		if (!is_held(io) && rng_below(&medium->rng, ++seen) == 0)
			picked = io;
	}
	return picked;
}

static struct device_io *
find_pending_locked(struct sim_medium *medium, const struct device_io *wanted)
{
	struct device_io *io = medium->pending;

	while (io && io != wanted)
		io = io->next;
	return io;
}

static void
sim_submit(struct device *dev, struct device_io *const *ios, size_t count)
{
	struct sim *sim = (struct sim *)dev;
	struct sim_medium *medium = sim->medium;
	uint64_t stamp;

	/* A flush of this batch covers what had completed before the batch was submitted. */
	mutex_lock(&medium->lock);
	stamp = medium->store.stamp;
	mutex_unlock(&medium->lock);

	device_flight_begin(dev, count);
	for (size_t i = 0; i < count; i++) {
		struct device_io *io = ios[i];
		bool waits;

		mutex_lock(&medium->lock);
		io->driver = sim;
		io->driver_number = io->op == DEVICE_FLUSH ? stamp : REQUEST_READY;
		if (io->op == DEVICE_WRITE &&
			sim_fault__find(&medium->faults, io, SIM_AT_SUBMISSION))
			io->driver_number = REQUEST_HELD;
		waits = medium->reorders || is_held(io);
		if (waits)
			pend_locked(medium, io);
		mutex_unlock(&medium->lock);
		if (!waits)
			finish(sim, io);
	}
}

static void
sim_wait(struct device *dev, struct device_io *io)
{
	struct sim_medium *medium = ((struct sim *)dev)->medium;

	mutex_lock(&medium->lock);
	while (!atomic_load_explicit(&io->is_done, memory_order_acquire)) {
		struct device_io *next = pick_ready_locked(medium);

		if (!next)
			next = find_pending_locked(medium, io);
		if (!next) { /* another thread has it */
			condition_wait(&medium->changed, &medium->lock);
			continue;
		}
		unlink_locked(medium, next);
		mutex_unlock(&medium->lock);
		finish(next->driver, next);
		mutex_lock(&medium->lock);
	}
	mutex_unlock(&medium->lock);
}

/* A request that is still pending when its handle is closed is executed, as a host would. */
static void
finish_pending(struct sim *sim)
{
	struct sim_medium *medium = sim->medium;

	mutex_lock(&medium->lock);
	for (;;) {
		struct device_io *io = medium->pending;

		while (io && io->driver != sim)
			io = io->next;
		if (!io)
			break;
		unlink_locked(medium, io);
		mutex_unlock(&medium->lock);
		finish(sim, io);
		mutex_lock(&medium->lock);
	}
	mutex_unlock(&medium->lock);
}

static int
sim_barrier(struct device *dev)
{
	struct sim *sim = (struct sim *)dev;
	struct sim_medium *medium = sim->medium;
	bool orders;
	int err = 0;

	mutex_lock(&medium->lock);
	orders = medium->orders_barriers;
	mutex_unlock(&medium->lock);
	if (!orders)
		return device_flush(dev);

	finish_pending(sim);
	mutex_lock(&medium->lock);
	if (handle_is_alive_locked(sim))
		sim_store__barrier(&medium->store);
	else
		err = fail(COP_EIO, "%s: barrier", dev->name);
	mutex_unlock(&medium->lock);
	return err;
}

static void
sim_close(struct device *dev)
{
	struct sim *sim = (struct sim *)dev;
	struct sim_medium *medium = sim->medium;

	finish_pending(sim);
	mutex_lock(&medium->lock);
	if (sim->holds_lock && sim->period == medium->store.period) {
		if (dev->read_only)
			medium->readers--;
		else
			medium->has_writer = false;
	}
	mutex_unlock(&medium->lock);
	if (sim->owns_medium)
		sim_free(medium);
	device_fini(dev);
	free(sim);
}

/* "sim:SIZE": a fresh medium that vanishes with the handle. */
static int
sim_open_url(const char *rest, const struct device_options *options, struct device **out_device)
{
	struct sim_medium *medium = NULL;
	struct device *dev;
	uint64_t bytes;
	int err;

	err = device__parse_bytes(rest, &bytes);
	if (err)
		return fail_in(err, "sim:%s", rest);
	err = sim_create(bytes, 0, &medium);
	if (err)
		return fail_in(err, "sim:%s", rest);
	err = sim_open(medium, options->flags, &dev);
	if (err) {
		sim_free(medium);
		return fail_in(err, "sim:%s", rest);
	}
	((struct sim *)dev)->owns_medium = true;
	*out_device = dev;
	return 0;
}

/* Not the handle's own lock, of which there is one. */
static bool
sim_has_writer(struct device *dev)
{
	struct sim *sim = (struct sim *)dev;
	bool has_writer;

	mutex_lock(&sim->medium->lock);
	has_writer = sim->medium->has_writer && (dev->read_only || !sim->holds_lock);
	mutex_unlock(&sim->medium->lock);
	return has_writer;
}

const struct device_driver device_driver_sim = {
	.scheme = "sim",
	.open = sim_open_url,
	.close = sim_close,
	.submit = sim_submit,
	.wait = sim_wait,
	.barrier = sim_barrier,
	.has_writer = sim_has_writer,
};

/* ---- The medium ----------------------------------------------------------------------------- */

/* A medium without contents. */
static int
medium_alloc(struct sim_medium **out_medium)
{
	struct sim_medium *medium = calloc(1, sizeof *medium);
	int err;

	if (!medium)
		return fail(COP_ENOMEM, "simulated medium");
	err = mutex_init(&medium->lock, LOCK_DEVICE_QUEUE);
	if (err)
		goto free_medium;
	err = condition_init(&medium->changed);
	if (err)
		goto fini_lock;
	*out_medium = medium;
	return 0;

fini_lock:
	mutex_fini(&medium->lock);
free_medium:
	free(medium);
	return err;
}

int
sim_create(uint64_t bytes, uint64_t seed, struct sim_medium **out_medium)
{
	struct sim_medium *medium = NULL;
	int err;

	if (bytes < BLOCK_BYTES)
		return fail(COP_EINVAL, "a simulated medium has at least %d bytes", BLOCK_BYTES);
	err = medium_alloc(&medium);
	if (err)
		return err;
	sim_store__init(&medium->store, bytes / BLOCK_BYTES);
	rng_seed(&medium->rng, seed);
	medium->is_on = true;
	*out_medium = medium;
	return 0;
}

void
sim_free(struct sim_medium *medium)
{
	if (!medium)
		return;
	assert(!medium->pending);
	sim_store__fini(&medium->store);
	condition_fini(&medium->changed);
	mutex_fini(&medium->lock);
	free(medium);
}

int
sim_clone(struct sim_medium *medium, struct sim_medium **out_clone)
{
	struct sim_medium *clone = NULL;
	int err;

	err = medium_alloc(&clone);
	if (err)
		return err;
	mutex_lock(&medium->lock);
	err = sim_store__clone(&medium->store, &clone->store);
	if (!err) {
		clone->stats = medium->stats;
		clone->read_hash = medium->read_hash;
		clone->rng = medium->rng;
		clone->is_on = medium->is_on;
		for (const struct device_io *io = medium->pending; io && clone->is_on;
			io = io->next)
			leave_in_flight(&clone->store, io);
		clone->began = clone->store.stamp;
	}
	mutex_unlock(&medium->lock);
	if (err) {
		condition_fini(&clone->changed);
		mutex_fini(&clone->lock);
		free(clone);
		return err;
	}
	*out_clone = clone;
	return 0;
}

static int
take_openers_lock_locked(struct sim_medium *medium, uint32_t flags)
{
	if (flags & DEVICE_NO_LOCK)
		return 0;
	if (medium->has_writer || (medium->readers > 0 && !(flags & DEVICE_READ_ONLY)))
		return fail(COP_EBUSY, "simulated medium: in use by process %ld", (long)getpid());
	if (flags & DEVICE_READ_ONLY)
		medium->readers++;
	else
		medium->has_writer = true;
	return 0;
}

int
sim_open(struct sim_medium *medium, uint32_t flags, struct device **out_device)
{
	struct sim *sim = calloc(1, sizeof *sim);
	int err;

	if (!sim)
		return fail(COP_ENOMEM, "simulated medium");
	err = device_init(&sim->device, &device_driver_sim, "sim:");
	if (err)
		goto free_sim;
	sim->medium = medium;
	sim->device.read_only = flags & DEVICE_READ_ONLY;

	mutex_lock(&medium->lock);
	sim->device.blocks = medium->store.blocks;
	sim->period = medium->store.period;
	sim->holds_lock = !(flags & DEVICE_NO_LOCK);
	err = medium->is_on ? take_openers_lock_locked(medium, flags)
			    : fail(COP_EIO, "simulated medium: no power");
	mutex_unlock(&medium->lock);
	if (err)
		goto fini_device;
	*out_device = &sim->device;
	return 0;

fini_device:
	device_fini(&sim->device);
free_sim:
	free(sim);
	return err;
}

/* ---- Power ---------------------------------------------------------------------------------- */

void
sim_power_off(struct sim_medium *medium)
{
	mutex_lock(&medium->lock);
	power_off_locked(medium, NULL);
	mutex_unlock(&medium->lock);
}

void
sim_cut_after(struct sim_medium *medium, uint64_t calls)
{
	mutex_lock(&medium->lock);
	medium->cut_call = medium->stats.calls + calls + 1;
	mutex_unlock(&medium->lock);
}

bool
sim_is_on(struct sim_medium *medium)
{
	bool is_on;

	mutex_lock(&medium->lock);
	is_on = medium->is_on;
	mutex_unlock(&medium->lock);
	return is_on;
}

uint32_t
sim_choose_oldest(void *context, uint32_t alternatives, uint64_t sector)
{
	(void)context;
	(void)alternatives;
	(void)sector;
	return 0;
}

uint32_t
sim_choose_newest(void *context, uint32_t alternatives, uint64_t sector)
{
	(void)context;
	(void)sector;
	return alternatives - 1;
}

uint32_t
sim_choose_random(void *context, uint32_t alternatives, uint64_t sector)
{
	(void)sector;
	return (uint32_t)rng_below(context, alternatives);
}

void
sim_power_on(struct sim_medium *medium, sim_choose choose, void *context)
{
	assert(choose);
	mutex_lock(&medium->lock);
	assert(!medium->is_on);
	sim_store__end_period(&medium->store);
	medium->store.choose = choose;
	medium->store.choose_context = context;
	medium->is_on = true;
	medium->cut_call = 0;
	medium->read_hash = 0;
	medium->began = medium->store.stamp;
	medium->has_writer = false;
	medium->readers = 0;
	mutex_unlock(&medium->lock);
}

void
sim_set_choose(struct sim_medium *medium, sim_choose choose, void *context)
{
	assert(choose);
	mutex_lock(&medium->lock);
	medium->store.choose = choose;
	medium->store.choose_context = context;
	mutex_unlock(&medium->lock);
}

/* ---- What happened -------------------------------------------------------------------------- */

uint64_t
sim_read_hash(struct sim_medium *medium)
{
	uint64_t hash;

	mutex_lock(&medium->lock);
	hash = medium->read_hash;
	mutex_unlock(&medium->lock);
	return hash;
}

void
sim_set_read_hash(struct sim_medium *medium, uint64_t hash)
{
	mutex_lock(&medium->lock);
	medium->read_hash = hash;
	mutex_unlock(&medium->lock);
}

int
sim_look(struct sim_medium *medium, uint64_t addr, struct sim_look *out_look)
{
	struct sim_look look = { .addr = addr, .blocks = 1 };

	mutex_lock(&medium->lock);
	look.err = sim_store__look(&medium->store, addr, &look);
	note_read_locked(medium, &look);
	mutex_unlock(&medium->lock);
	*out_look = look;
	return look.err;
}

void
sim_set_listener(struct sim_medium *medium, sim_listener listener, void *context)
{
	mutex_lock(&medium->lock);
	medium->listener = listener;
	medium->listener_context = context;
	mutex_unlock(&medium->lock);
}

struct sim_stats
sim_stats(struct sim_medium *medium)
{
	struct sim_stats stats;

	mutex_lock(&medium->lock);
	stats = medium->stats;
	stats.choices = medium->store.choices;
	stats.not_durable = medium->store.dirty_count;
	mutex_unlock(&medium->lock);
	return stats;
}

void
sim_set_hook(struct sim_medium *medium, sim_hook hook, void *context)
{
	mutex_lock(&medium->lock);
	medium->hook = hook;
	medium->hook_context = context;
	mutex_unlock(&medium->lock);
}

/* ---- Setting faults ------------------------------------------------------------------------- */

int
sim_add_fault(struct sim_medium *medium, const struct sim_fault *fault)
{
	int err;

	mutex_lock(&medium->lock);
	err = sim_fault__add(&medium->faults, fault);
	mutex_unlock(&medium->lock);
	return err;
}

void
sim_clear_faults(struct sim_medium *medium)
{
	mutex_lock(&medium->lock);
	sim_fault__clear(&medium->faults);
	mutex_unlock(&medium->lock);
}

uint64_t
sim_faults_struck(struct sim_medium *medium)
{
	uint64_t struck;

	mutex_lock(&medium->lock);
	struck = medium->faults.struck;
	mutex_unlock(&medium->lock);
	return struck;
}

struct sim_struck
sim_last_struck(struct sim_medium *medium)
{
	struct sim_struck last;

	mutex_lock(&medium->lock);
	last = medium->faults.last;
	mutex_unlock(&medium->lock);
	return last;
}

void
sim_release(struct sim_medium *medium)
{
	mutex_lock(&medium->lock);
	for (struct device_io *io = medium->pending; io; io = io->next) {
		if (is_held(io))
			io->driver_number = REQUEST_READY;
	}
	condition_wake_all(&medium->changed);
	mutex_unlock(&medium->lock);
}

void
sim_reorder(struct sim_medium *medium, bool on)
{
	mutex_lock(&medium->lock);
	medium->reorders = on;
	mutex_unlock(&medium->lock);
}

void
sim_order_barriers(struct sim_medium *medium, bool on)
{
	mutex_lock(&medium->lock);
	medium->orders_barriers = on;
	mutex_unlock(&medium->lock);
}

/* ---- Damage --------------------------------------------------------------------------------- */

int
sim_flip_bit(struct sim_medium *medium, uint64_t addr, uint32_t bit)
{
	int err;

	mutex_lock(&medium->lock);
	err = sim_store__flip(&medium->store, addr, bit);
	mutex_unlock(&medium->lock);
	return err;
}

int
sim_make_stale(struct sim_medium *medium, uint64_t addr)
{
	int err;

	mutex_lock(&medium->lock);
	err = sim_store__make_stale(&medium->store, addr);
	mutex_unlock(&medium->lock);
	return err;
}

int
sim_peek(struct sim_medium *medium, uint64_t addr, void *block)
{
	int err;

	mutex_lock(&medium->lock);
	err = sim_store__read(&medium->store, addr, block);
	mutex_unlock(&medium->lock);
	return err;
}

int
sim_poke(struct sim_medium *medium, uint64_t addr, const void *block)
{
	int err;

	mutex_lock(&medium->lock);
	err = sim_store__write(&medium->store, addr, block, SIM_DURABLE);
	mutex_unlock(&medium->lock);
	return err;
}
