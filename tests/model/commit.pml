/*
 * The commit protocol: one device, one volume, power cuts, killed processes. spin visits every
 * state within given sizes. check.py chooses them, runs the protocol whole and with single rules
 * left out.
 *
 * What is modelled
 *
 *   device    blocks for data and nodes, slots of the journal, slots of the superblock ring. Each
 *             knows what it reads as, what is durable for certain, and whether its newest write is
 *             in flight, durable, or forgotten by a flush that failed. A power cut keeps any subset
 *             of what is in flight and may tear a batch or a superblock. A killed process leaves
 *             any subset of it in the cache.
 *   flush     one event, which covers any subset of what is in flight: that is what had completed
 *             when it was submitted. Completion needs no event of its own, because nothing but a
 *             flush asks for it, and a power cut takes completed writes as well as others. So a
 *             write that is to wait for another is sent at once: that only adds power cuts.
 *   batches   numbered records on paper. A slot holds the number, `batches` what it says. One
 *             transaction a batch, with a syncer that waits for it, WINDOW at once: a flush serves
 *             all of them. The checksum of data is the number of the batch that names it.
 *   nodes     one node a generation. It stands for the whole tree, which is written down beside the
 *             superblock that points to it. The first change of a generation shadows it.
 *   history   each batch notes the transaction before it (in the model, not in the format): replay
 *             gives a prefix of history if it follows these notes.
 *
 * Not modelled: damaged media, trees of several nodes, jobs, in-place objects, the clean mark,
 * writes of a killed process that arrive after the next has opened the volume.
 *
 * What is asserted
 *
 *   acknowledged_is_kept     recovery finds what a sync has promised                   recover()
 *   prefix_of_history        replay meets each transaction after the one before it     replay()
 *   previous_gives_the_same  P and the journal up to N's tail give what N points to    reach()
 *   chain_is_unbroken        from P's tail the journal leads to N's                    reach()
 *   newest_is_whole          the node of N reads as it was written                     recover()
 *   previous_is_whole        there is a P, and its node reads as it was written        recover()
 *   reads_verify             each key's data is the version that the tree names        verify()
 *   no_damage_claimed        a torn tail is not taken for damage                       recover()
 *   room_is_kept             there is a slot for the opening batch                     recover()
 *   (nameless)               nothing is written over a write in flight                 submit()
 *
 * The rules of commit, where they stand here, and the macro that leaves one out
 *
 *   2     epoch, sequence never reused        next_in_chain()       NO_EPOCH, NO_SEQUENCE
 *   3     D covers what completed before      is_uncovered()        LATE_COVER
 *         the flush was submitted
 *         FUA only if D = n-1                 may_be_fua            FUA_PAST
 *         FUA without data outside            may_be_fua            FUA_DATA
 *   4     a block freed in period k waits     freed_as()            REUSE_IN_PERIOD
 *         for superblock k+1                  release_oldest()      REUSE_EARLY
 *   5     flush, then the superblock          volume(): freeze      NO_BARRIER
 *         the closing batches before it       closing_is_durable    NO_WAIT
 *         the next slot but N's and P's       next_slot()           SLOT_BY_NUMBER
 *         trim one late                       trim()                TRIM_EARLY
 *   6, 0  flush before reading              * volume(): open        NO_FLUSH_FIRST
 *   6, 1  the chain from P's tail             find_supers(), find_d()
 *   6, 2  the largest D                       find_d()
 *   6, 3  scan, verify data above D           recover(), replay()   NO_VERIFY
 *   6, 4  write again what is above D         replay(), rewrite()   NO_REWRITE
 *         and the newest superblock         + recover()             NO_SUPER_REWRITE
 *         flush before the opening batch      volume(): rewritten   NO_FLUSH_BEFORE_OPENING
 *   6, 5  sequence above any seen             recover()             NO_SEQUENCE
 *         room is kept, for two             + KEPT_ROOM             ROOM_FOR_ONE
 *         in place of an opening batch        opening_is_replaced   NEVER_IN_PLACE
 *         but only past N's tail            + opening_is_replaced   ALWAYS_IN_PLACE
 *         in one sector                     + stays_whole()         OPENING_TEARS
 *   6, 6  reserve before allocating           replay()              NO_RESERVE
 *   6, 7  replay from the base                replay()
 *
 *   + stricter than a first reading of the rules; without it there is a counterexample
 *   * not needed beside the flushes of steps 4 and 5. Nor is one of epoch and sequence needed
 *     beside the other, as long as a killed process has no writes on their way.
 */

/* ---- Sizes: check.py sets them --------------------------------------------------------------- */

#ifndef KEYS
#define KEYS 1
#endif
#ifndef BLOCKS
#define BLOCKS 6 /* for data and nodes */
#endif
#ifndef SLOTS
#define SLOTS 6 /* of the journal */
#endif
#ifndef WINDOW
#define WINDOW 2 /* batches not covered by D */
#endif
#ifndef BATCHES
#define BATCHES 5 /* that are ever written */
#endif
#ifndef CHECKPOINTS
#define CHECKPOINTS 1
#endif
#ifndef CRASHES
#define CRASHES 1 /* power cuts and kills */
#endif
#ifndef FAILURES
#define FAILURES 0 /* flushes that fail */
#endif

#define RING	4
#define JOURNAL (BLOCKS + 1)
#define SUPERS	(JOURNAL + SLOTS)
#define LOCATIONS (SUPERS + RING) /* from 1 */

/* ---- The device ------------------------------------------------------------------------------ */

#define NOTHING	0
#define NODE	100 /* content of a block: NODE + number of the superblock; else number of a batch */

#define DURABLE		0
#define FLYING		1 /* submitted, no flush has covered it yet */
#define FLYING_FUA	2
#define COVERED		3 /* within a flush only */
#define FORGOTTEN	4 /* the flush failed: still reads back, never becomes durable */
#define LEFT		5 /* completed, not flushed; the process that wrote it is gone */

byte content[LOCATIONS]; /* what a read gives */
byte durable[LOCATIONS]; /* what a power cut leaves, whatever else it takes */
byte status[LOCATIONS];

/* ---- What is written ------------------------------------------------------------------------- */

#define OUTSIDE	1 /* put: the data is in a block */
#define INSIDE	2 /* put: the data is in the batch */
#define MARK	3 /* nothing but D */
#define OPENING	4

typedef batch {
	byte kind;
	byte seq;
	byte epoch; /* number of the opening batch that began it */
	byte covers; /* D */
	byte key;
	byte addr;
	byte generation; /* of an opening batch */
	byte after;	 /* history: the transaction before */
};

typedef superblock {
	byte generation;
	byte predecessor; /* its generation */
	byte tail; /* place of the first batch after the freeze */
	byte tail_seq;
	byte tail_epoch;
	byte node;	   /* address */
	byte node_content;
	byte addr[KEYS];  /* what the node says */
	byte value[KEYS]; /* number of the batch that put it; its data's checksum */
	byte last;	  /* history: the newest transaction in it */
};

batch batches[BATCHES + 1];
byte batch_count;
superblock supers[CHECKPOINTS + 3];
byte super_count;

/* ---- The process ----------------------------------------------------------------------------- */

#define OPEN	  0 /* about to be opened */
#define REWRITTEN 1 /* recovery: step 4 written */
#define OPENED	  2 /* recovery: step 5 written */
#define RUNNING	  3

#define FREE	     0
#define USED	     1
#define FREED	     2 /* in the open period */
#define FREED_BEFORE 3 /* in the period before: being checkpointed, or N's */
#define FREED_FIRST  4 /* in the one before that: N's, while the next is being checkpointed */

byte phase;
byte head;	    /* place of the next batch: places count on, slot is the remainder */
byte next_seq;
byte epoch;
byte d;		    /* D */
byte kept;	    /* place from which on the journal is kept */
byte last;		    /* newest transaction */
byte addr[KEYS];
byte value[KEYS];
byte usage[BLOCKS + 1];
byte node;	    /* of the newest generation that has one */
byte node_content;
bit changed;	    /* since the last freeze */
byte generation;    /* the open one */
byte newest;	    /* N: number of the superblock */
byte previous;	    /* P */
byte closing;	    /* superblock of the checkpoint under way */
bit closing_sent;   /* it has been submitted */
bit fua_sent;	    /* a durable write is in flight */
bit idle;	    /* the last batch is a transaction */

/* ---- The observer ---------------------------------------------------------------------------- */

byte acknowledged; /* newest transaction that a sync has promised */
byte crashes;
byte failures;
byte checkpoints;

#define is_flying(location) (status[location] == FLYING || status[location] == FLYING_FUA)
#define is_cached(location) (is_flying(location) || status[location] == LEFT)

inline submit(where, what)
{
	assert(!is_flying(where)); /* write once */
	content[where] = what;
	status[where] = FLYING
}

/* What a counterexample reads like. */
inline tell_batch()
{
	printf("batch %d in slot %d: sequence %d epoch %d D %d: ", batch_count, (head - 1) % SLOTS,
		batches[batch_count].seq, batches[batch_count].epoch, batches[batch_count].covers);
	if
	:: batches[batch_count].kind == OUTSIDE ->
		printf("key %d in block %d\n", batches[batch_count].key, batches[batch_count].addr)
	:: batches[batch_count].kind == INSIDE -> printf("key %d\n", batches[batch_count].key)
	:: batches[batch_count].kind == MARK -> printf("D mark\n")
	:: batches[batch_count].kind == OPENING -> printf("opening\n")
	fi
}

inline tell_super(number)
{
	printf("superblock %d: generation %d after %d, tail in slot %d sequence %d, node %d\n",
		number, supers[number].generation, supers[number].predecessor,
		supers[number].tail % SLOTS, supers[number].tail_seq, supers[number].node)
}

/* Every key's data is the version that the tree names. */
inline verify()
{
	k = 0;
	do
	:: k < KEYS ->
		reads_verify = addr[k] == 0 || content[addr[k]] == value[k];
		assert(reads_verify);
		k++
	:: else -> break
	od;
	reads_verify = 0;
	k = 0
}

/* 3: what D covers is acknowledged. */
inline acknowledge()
{
	n = last;
	do
	:: batches[n].seq > d -> n = batches[n].after
	:: else -> break
	od;
	if
	:: n > acknowledged -> acknowledged = n
	:: else
	fi;
	n = 0
}

/* ---- Space: rule 4 --------------------------------------------------------------------------- */

inline count_free(out)
{
	out = 0;
	k = 1;
	do
	:: k <= BLOCKS -> out = out + (usage[k] == FREE && !is_flying(k)); k++
	:: else -> break
	od;
	k = 0
}

/* The lowest that is free: the soonest reuse there can be. */
inline allocate(out)
{
	k = 1;
	do
	:: k <= BLOCKS && (usage[k] != FREE || is_flying(k)) -> k++
	:: else -> break
	od;
	assert(k <= BLOCKS);
	usage[k] = USED;
	out = k;
	k = 0
}


/* One born in the same period is no exception. */
#ifdef REUSE_IN_PERIOD
#define freed_as(number) \
	(number > supers[(closing != 0 -> closing : newest)].last -> FREE : FREED)
#else
#define freed_as(number) FREED
#endif

/* The freeze of a period makes everything freed a period older. */
inline age_freed()
{
	k = 1;
	do
	:: k <= BLOCKS ->
		if
		:: usage[k] == FREED_BEFORE -> usage[k] = FREED_FIRST
		:: usage[k] == FREED -> usage[k] = FREED_BEFORE
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = 0
}

inline release_oldest()
{
	k = 1;
	do
	:: k <= BLOCKS ->
		if
		:: usage[k] == FREED_FIRST -> usage[k] = FREE
#ifdef REUSE_EARLY
		:: usage[k] == FREED_BEFORE -> usage[k] = FREE
#endif
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = 0
}

/* The first change of a generation shadows the node. */
inline shadow()
{
	if
	:: !changed ->
		usage[node] = FREED;
		allocate(node);
		node_content = NOTHING; /* named when it is written */
		changed = 1
	:: else
	fi
}

/* ---- The journal: rules 2 and 3 -------------------------------------------------------------- */

#define slot_of(place) (JOURNAL + (place) % SLOTS)
#define room	       (SLOTS - (head - kept))

/* 5: a D mark, and an opening batch for each of the two periods that are kept. */
#ifdef ROOM_FOR_ONE
#define KEPT_ROOM 2
#else
#define KEPT_ROOM 3
#endif

inline append(number)
{
	submit(slot_of(head), number);
	head++;
	next_seq++
}

/* Whether a batch continues a chain whose last batch has sequence `at`. */
#ifdef NO_EPOCH
#define in_epoch(number, of_epoch) true
#else
#define in_epoch(number, of_epoch) (batches[number].epoch == of_epoch)
#endif
#define next_in_chain(number, at, of_epoch) \
	(number != NOTHING && \
		(batches[number].kind == OPENING \
				-> batches[number].covers == at && batches[number].seq > at \
				: batches[number].seq == at + 1 && in_epoch(number, of_epoch)))

/* 3: whether the batch there, or data that it names, is outside of the flush. */
#ifdef LATE_COVER
#define is_uncovered(slot) false
#else
#define is_uncovered(slot) (is_flying(slot) || (batches[content[slot]].kind == OUTSIDE && \
	is_flying(batches[content[slot]].addr)))
#endif

/* 3: one durable write, if all before it is durable and it names no data outside. */
#ifdef FUA_PAST
#define may_be_fua (!fua_sent && !outside)
#else
#ifdef FUA_DATA
#define may_be_fua (!fua_sent && d == next_seq - 1)
#else
#define may_be_fua (!fua_sent && d == next_seq - 1 && !outside)
#endif
#endif

/* ---- Superblocks: rule 5 --------------------------------------------------------------------- */

/* out: the next after N's that holds neither N nor P. */
inline next_slot(out)
{
#ifdef SLOT_BY_NUMBER
	out = SUPERS + generation % RING;
#else
	out = SUPERS;
	do
	:: content[out] != newest -> out++
	:: else -> break
	od;
	do
	:: content[out] == newest || (previous != 0 && content[out] == previous) ->
		out = SUPERS + (out - SUPERS + 1) % RING
	:: else -> break
	od
#endif
}

/* The journal is kept from P's tail, not from N's. */
inline trim()
{
#ifdef TRIM_EARLY
	kept = supers[newest].tail
#else
	kept = supers[(previous != 0 -> previous : newest)].tail
#endif
}

/* Batches and data of the closing generation, as the flush that is being made will leave them. */
#ifdef NO_WAIT
#define closing_is_durable true
#else
#define closing_is_durable (seq >= supers[closing].tail_seq - 1)
#endif

/* What a flush lets the checkpoint under way do. */
#define NO_STEP 0
#define SEND	1
#define ROTATE	2
#define flush_is_of_use (seq > d || step != NO_STEP)

/* The checkpoint under way is durable. */
inline rotate()
{
	previous = newest;
	newest = closing;
	printf("durable: ");
	tell_super(newest);
	closing = 0;
	closing_sent = 0;
	release_oldest();
	trim()
}

inline send_super()
{
	next_slot(n);
	submit(n, closing);
	printf("sent: ");
	tell_super(closing);
	closing_sent = 1;
	n = 0
}

/* ---- Recovery: rule 6 ------------------------------------------------------------------------ */

/* newest: the superblock with the highest generation; previous: the one that it names. */
inline find_supers()
{
	newest = 0;
	previous = 0;
	k = SUPERS;
	do
	:: k < LOCATIONS ->
		if
		:: content[k] != NOTHING && supers[content[k]].generation > supers[newest].generation ->
			newest = content[k]
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = SUPERS;
	do
	:: k < LOCATIONS ->
		if
		:: content[k] != NOTHING &&
				supers[content[k]].generation == supers[newest].predecessor ->
			previous = content[k]
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = 0
}

#define node_is_whole(super) (content[supers[super].node] == supers[super].node_content)

/* Steps 1 and 2: D is the largest in the chain; what is before N's tail is durable in any case. */
inline find_d()
{
	d = supers[newest].tail_seq - 1;
	head = supers[previous].tail;
	seq = supers[previous].tail_seq - 1;
	epoch = supers[previous].tail_epoch;
	n = content[slot_of(head)];
	do
	:: next_in_chain(n, seq, epoch) ->
		if
		:: batches[n].covers > d -> d = batches[n].covers
		:: else
		fi;
		seq = batches[n].seq;
		epoch = batches[n].epoch;
		head++;
		n = content[slot_of(head)]
	:: else -> break
	od;
	n = 0
}

/* The journal of P's period ends where N's begins: there P and N must agree. */
inline reach()
{
	if
	:: head == supers[newest].tail && !reached ->
		chain_is_unbroken = seq == supers[newest].tail_seq - 1 &&
			epoch == supers[newest].tail_epoch;
		assert(chain_is_unbroken);
		k = 0;
		do
		:: k < KEYS ->
			previous_gives_the_same = addr[k] == supers[newest].addr[k] &&
				value[k] == supers[newest].value[k] && last == supers[newest].last;
			assert(previous_gives_the_same);
			k++
		:: else -> break
		od;
		k = 1;
		do
		:: k <= BLOCKS ->
			if
			:: usage[k] == FREED -> usage[k] = FREED_BEFORE
			:: else
			fi;
			k++
		:: else -> break
		od;
		if
		:: supers[newest].node != node ->
			usage[node] = FREED_BEFORE;
			node = supers[newest].node;
			node_content = supers[newest].node_content
		:: else
		fi;
		usage[node] = USED;
		k = 0;
		chain_is_unbroken = 0;
		previous_gives_the_same = 0;
		reached = 1
	:: else
	fi
}

/* 4: identical bytes, for a device that has forgotten them. */
inline rewrite(where)
{
	if
	:: status[where] == FORGOTTEN -> status[where] = FLYING
	:: else
	fi
}

inline put(number)
{
	if
	:: addr[batches[number].key] != 0 ->
		usage[addr[batches[number].key]] = freed_as(value[batches[number].key])
	:: else
	fi;
	addr[batches[number].key] = batches[number].addr;
	value[batches[number].key] = number;
	last = number
}

#define is_put(number)	     (batches[number].kind == OUTSIDE || batches[number].kind == INSIDE)
#ifdef NO_VERIFY
#define data_is_there(number) true
#else
#define data_is_there(number) \
	(batches[number].kind != OUTSIDE || content[batches[number].addr] == number)
#endif

/* Steps 3, 4, 6 and 7: from P, through N, to the first batch that does not verify. */
inline replay()
{
	head = supers[previous].tail;
	seq = supers[previous].tail_seq - 1;
	epoch = supers[previous].tail_epoch;
	last = supers[previous].last;
	node = supers[previous].node;
	node_content = supers[previous].node_content;
	usage[node] = USED;
	k = 0;
	do
	:: k < KEYS ->
		addr[k] = supers[previous].addr[k];
		value[k] = supers[previous].value[k];
		if
		:: addr[k] != 0 -> usage[addr[k]] = USED
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = 0;
	reach();
	n = content[slot_of(head)];
	do
	:: next_in_chain(n, seq, epoch) && (batches[n].seq <= d || data_is_there(n)) ->
#ifndef NO_REWRITE
		if
		:: batches[n].seq > d ->
			rewrite(slot_of(head));
			if
			:: batches[n].kind == OUTSIDE -> rewrite(batches[n].addr)
			:: else
			fi
		:: else
		fi;
#endif
		if
		:: is_put(n) ->
			prefix_of_history = batches[n].after == last;
			assert(prefix_of_history);
			prefix_of_history = 0;
			if
#ifdef NO_RESERVE
			:: reached -> shadow()
#else
			:: reached -> replayed = 1
#endif
			:: else
			fi;
			if
			:: batches[n].kind == OUTSIDE -> usage[batches[n].addr] = USED
			:: else
			fi;
			put(n)
		:: else
		fi;
		before = seq;
		seq = batches[n].seq;
		epoch = batches[n].epoch;
		head++;
		reach();
		n = content[slot_of(head)]
	:: else -> break
	od;
	n = 0;
	chain_is_unbroken = reached;
	assert(chain_is_unbroken);
	chain_is_unbroken = 0;
	reached = 0;
	if
	:: replayed -> shadow()
	:: else
	fi;
	replayed = 0
}

/* 5: whether the last accepted batch is an opening one that the new one replaces. */
#ifdef NEVER_IN_PLACE
#define opening_is_replaced false
#else
#ifdef ALWAYS_IN_PLACE
#define may_be_replaced (head > supers[previous].tail)
#else
#define may_be_replaced (head > supers[newest].tail)
#endif
#define opening_is_replaced \
	(may_be_replaced && batches[content[slot_of(head - 1)]].kind == OPENING)
#endif

/* What no slot holds any more is forgotten: fewer states. */
inline burn_paper()
{
	n = 1;
	do
	:: n <= batch_count ->
		k = JOURNAL;
		do
		:: k < SUPERS && content[k] != n && durable[k] != n -> k++
		:: else -> break
		od;
		if
		:: k == SUPERS ->
			batches[n].kind = 0;
			batches[n].seq = 0;
			batches[n].epoch = 0;
			batches[n].covers = 0;
			batches[n].key = 0;
			batches[n].addr = 0;
			batches[n].generation = 0;
			batches[n].after = 0
		:: else
		fi;
		n++
	:: else -> break
	od;
	n = 0;
	k = 0
}

/* Steps 1 to 4, up to the flush. */
inline recover()
{
	find_supers();
	printf("N: ");
	tell_super(newest);
	newest_is_whole = node_is_whole(newest);
	assert(newest_is_whole);
	newest_is_whole = 0;
	previous_is_whole = previous != 0 && node_is_whole(previous);
	assert(previous_is_whole);
	previous_is_whole = 0;
	find_d();
	replay();
#ifndef NO_SUPER_REWRITE
	k = SUPERS;
	do
	:: k < LOCATIONS && content[k] != newest -> k++
	:: else -> break
	od;
	rewrite(k);
#endif
	verify();

	n = last;
	do
	:: n > acknowledged -> n = batches[n].after
	:: else -> break
	od;
	acknowledged_is_kept = n == acknowledged;
	assert(acknowledged_is_kept);
	acknowledged_is_kept = 0;
	n = 0;

	/* The whole region: what it says about damage, the highest sequence and generation. */
	next_seq = seq + 1;
	generation = supers[newest].generation;
	k = JOURNAL;
	do
	:: k < SUPERS ->
		no_damage_claimed = batches[content[k]].covers <= seq;
		assert(no_damage_claimed);
#ifndef NO_SEQUENCE
		if
		:: batches[content[k]].seq >= next_seq -> next_seq = batches[content[k]].seq + 1
		:: else
		fi;
#endif
		if
		:: batches[content[k]].generation > generation ->
			generation = batches[content[k]].generation
		:: else
		fi;
		k++
	:: else -> break
	od;
	no_damage_claimed = 0;
	k = 0;
	generation = generation + 2;

	/* What is accepted is durable after the flush; where the opening batch will go. */
	d = seq;
	trim();
	if
	:: opening_is_replaced -> head--; d = before
	:: else
	fi;
	seq = 0;
	before = 0;
	epoch = 0;
	room_is_kept = room > 0;
	assert(room_is_kept);
	room_is_kept = 0;
	burn_paper()
}

/* ---- Ends of a process ----------------------------------------------------------------------- */

inline forget()
{
	head = 0;
	next_seq = 0;
	epoch = 0;
	d = 0;
	kept = 0;
	last = 0;
	node = 0;
	node_content = 0;
	changed = 0;
	generation = 0;
	newest = 0;
	previous = 0;
	closing = 0;
	closing_sent = 0;
	fua_sent = 0;
	idle = 0;
	k = 0;
	do
	:: k < KEYS -> addr[k] = 0; value[k] = 0; k++
	:: else -> break
	od;
	k = 0;
	do
	:: k <= BLOCKS -> usage[k] = FREE; k++
	:: else -> break
	od;
	k = 0;
	phase = OPEN
}

/* What is in flight reaches the cache, or never will. */
inline kill()
{
	printf("killed\n");
	i = 1;
	do
	:: i < LOCATIONS ->
		if
		:: is_flying(i) -> status[i] = LEFT
		:: is_flying(i) ->
			content[i] = durable[i];
			status[i] = DURABLE;
			printf("  location %d: lost\n", i)
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	d_step { forget() }
}

/*
 * A batch and a superblock may tear. An opening batch says all in one sector, so that the one that
 * it replaces in place stays or is replaced.
 */
#ifdef OPENING_TEARS
#define stays_whole(location) false
#else
#define stays_whole(location) (location < SUPERS && \
	batches[content[location]].kind == OPENING && batches[durable[location]].kind == OPENING)
#endif
#define may_tear(location) \
	(location >= JOURNAL && durable[location] != NOTHING && !stays_whole(location))

inline cut_power()
{
	printf("power cut\n");
	i = 1;
	do
	:: i < LOCATIONS ->
		if
		:: is_cached(i) -> durable[i] = content[i]
		:: is_cached(i) && content[i] != durable[i] ->
			content[i] = durable[i];
			printf("  location %d: lost\n", i)
		:: is_cached(i) && content[i] != durable[i] && may_tear(i) ->
			content[i] = NOTHING;
			durable[i] = NOTHING;
			printf("  location %d: torn\n", i)
		:: status[i] == FORGOTTEN ->
			content[i] = durable[i];
			printf("  location %d: forgotten\n", i)
		:: else
		fi;
		status[i] = DURABLE;
		i++
	:: else -> break
	od;
	i = 0;
	d_step { forget() }
}

/* Of a flush that fails, some is durable and some forgotten; the process ends. */
inline fail_flush(of_status)
{
	printf("flush fails\n");
	i = 1;
	do
	:: i < LOCATIONS ->
		if
		:: status[i] == of_status || status[i] == LEFT ->
			durable[i] = content[i];
			status[i] = DURABLE
		:: status[i] == of_status || status[i] == LEFT ->
			status[i] = FORGOTTEN;
			printf("  location %d: will be forgotten\n", i)
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	failures++;
	kill()
}

inline finish_flush(of_status)
{
	i = 1;
	do
	:: i < LOCATIONS ->
		if
		:: status[i] == of_status || status[i] == LEFT ->
			durable[i] = content[i];
			status[i] = DURABLE
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

/* ---- The events ------------------------------------------------------------------------------ */

/* A volume with two generations, both empty, and the sequence 1 to come. */
inline format()
{
	k = 1;
	do
	:: k <= 2 ->
		supers[k].generation = k;
		supers[k].predecessor = k - 1;
		supers[k].tail_seq = 1;
		supers[k].node = k;
		supers[k].node_content = NODE + k;
		content[k] = NODE + k;
		durable[k] = NODE + k;
		content[SUPERS + k] = k;
		durable[SUPERS + k] = k;
		k++
	:: else -> break
	od;
	k = 0;
	super_count = 2;
	newest = 2;
	previous = 1;
	generation = 3;
	node = 2;
	node_content = NODE + 2;
	usage[1] = FREED_BEFORE;
	usage[2] = USED;
	next_seq = 1;
	phase = RUNNING
}

active proctype volume()
{
	byte i, k, n, seq, before, free, key, step;
	bit outside, fua, reached, replayed;
	bit acknowledged_is_kept, prefix_of_history, previous_gives_the_same, newest_is_whole;
	bit previous_is_whole, chain_is_unbroken, no_damage_claimed, reads_verify, room_is_kept;

	d_step { format() }
	do
	/* transact: data and batch are submitted together; a syncer waits for D. */
	:: atomic {
		phase == RUNNING && batch_count < BATCHES && next_seq - 1 - d < WINDOW && room > KEPT_ROOM ->
		if
		:: outside = 1
		:: outside = 0
		fi;
#if KEYS > 1
		if
		:: key = 0
		:: key = 1
		fi;
#endif
		if
		:: may_be_fua -> fua = 1
		:: fua = 0
		fi;
		d_step {
			count_free(free);
			if
			:: free >= outside + !changed ->
				batch_count++;
				batches[batch_count].kind = (outside -> OUTSIDE : INSIDE);
				batches[batch_count].seq = next_seq;
				batches[batch_count].epoch = epoch;
				batches[batch_count].covers = d;
				batches[batch_count].key = key;
				batches[batch_count].after = last;
				shadow();
				if
				:: outside ->
					allocate(n);
					submit(n, batch_count);
					batches[batch_count].addr = n;
					n = 0
				:: else
				fi;
				append(batch_count);
				if
				:: fua -> status[slot_of(head - 1)] = FLYING_FUA; fua_sent = 1
				:: else
				fi;
				put(batch_count);
				idle = 1;
				verify();
				tell_batch()
			:: else
			fi;
			free = 0;
			outside = 0;
			key = 0;
			fua = 0
		}
	}

	/* A durable write has completed: it takes the flush's place. */
	:: d_step {
		phase == RUNNING && fua_sent ->
		k = JOURNAL;
		do
		:: status[k] != FLYING_FUA -> k++
		:: else -> break
		od;
		durable[k] = content[k];
		status[k] = DURABLE;
		d = batches[content[k]].seq;
		fua_sent = 0;
		acknowledge();
		printf("FUA: D %d, acknowledged %d\n", d, acknowledged);
		k = 0
	}

	/* D mark: there is no work; nobody waits for it. */
	:: d_step {
		phase == RUNNING && batch_count < BATCHES && d == next_seq - 1 && idle && room >= KEPT_ROOM ->
		batch_count++;
		batches[batch_count].kind = MARK;
		batches[batch_count].seq = next_seq;
		batches[batch_count].epoch = epoch;
		batches[batch_count].covers = d;
		append(batch_count);
		idle = 0;
		tell_batch()
	}

	/* freeze: the cut, and the node of the closing generation. */
	:: d_step {
		phase == RUNNING && closing == 0 && super_count < CHECKPOINTS + 2 &&
				(head != supers[newest].tail || previous == 0 ||
					supers[newest].tail != supers[previous].tail) ->
		super_count++;
		closing = super_count;
		if
		:: changed ->
			node_content = NODE + closing;
			submit(node, node_content);
			verify()
		:: else
		fi;
		changed = 0;
		age_freed();
		supers[closing].generation = generation;
		supers[closing].predecessor = supers[newest].generation;
		supers[closing].tail = head;
		supers[closing].tail_seq = next_seq;
		supers[closing].tail_epoch = epoch;
		supers[closing].node = node;
		supers[closing].node_content = node_content;
		supers[closing].last = last;
		k = 0;
		do
		:: k < KEYS ->
			supers[closing].addr[k] = addr[k];
			supers[closing].value[k] = value[k];
			k++
		:: else -> break
		od;
		k = 0;
		generation++;
		printf("frozen: ");
		tell_super(closing);
#ifdef NO_BARRIER
		send_super()
#endif
	}

	/* flush: covers what had completed before it was submitted. */
	:: atomic {
		phase == RUNNING ->
		i = 1;
		do
		:: i < LOCATIONS ->
			if
			:: status[i] == FLYING -> status[i] = COVERED
			:: status[i] == FLYING
			:: status[i] != FLYING
			fi;
			i++
		:: else -> break
		od;
		i = 0;
		d_step {
			/* 3: D moves past batches that are covered with all the data they name. */
			seq = d + 1;
			do
			:: seq < next_seq ->
				n = slot_of(head - (next_seq - seq));
				if
				:: is_uncovered(n) -> break
				:: else
				fi;
				seq++
			:: else -> break
			od;
			seq--;
			n = 0;
			/* 5: the closing generation is whole, or its superblock is. */
			if
			:: closing != 0 && closing_is_durable && !is_flying(supers[closing].node) ->
				k = SUPERS;
				do
				:: k < LOCATIONS && content[k] != closing -> k++
				:: else -> break
				od;
				step = (!closing_sent -> SEND : (is_flying(k) -> NO_STEP : ROTATE));
				k = 0
			:: else
			fi
		};
		if
		:: !flush_is_of_use -> /* the same as none */
			d_step {
				i = 1;
				do
				:: i < LOCATIONS ->
					if
					:: status[i] == COVERED -> status[i] = FLYING
					:: else
					fi;
					i++
				:: else -> break
				od;
				i = 0;
				seq = 0
			}
		:: flush_is_of_use ->
			d_step {
				finish_flush(COVERED);
				d = seq;
				acknowledge();
				printf("flush: D %d, acknowledged %d\n", d, acknowledged);
				if
				:: step == SEND -> send_super()
				:: step == ROTATE -> rotate()
				:: else
				fi;
				seq = 0;
				step = NO_STEP
			}
		:: flush_is_of_use && failures < FAILURES ->
			seq = 0;
			step = NO_STEP;
			fail_flush(COVERED)
		fi
	}

	/* A writable open: steps 0 to 4. */
	:: phase == OPEN ->
		atomic {
#ifndef NO_FLUSH_FIRST
			d_step { finish_flush(LEFT) };
#endif
			d_step {
				recover();
				phase = REWRITTEN;
				printf("recovered up to %d\n", last)
			}
		}

	/* The flush of step 4; the opening batch. */
	:: atomic {
		phase == REWRITTEN && batch_count < BATCHES ->
		if
		:: d_step {
			true ->
#ifndef NO_FLUSH_BEFORE_OPENING
			finish_flush(FLYING);
			acknowledged = last;
#endif
			batch_count++;
			batches[batch_count].kind = OPENING;
			batches[batch_count].seq = next_seq;
			batches[batch_count].epoch = batch_count;
			batches[batch_count].covers = d;
			batches[batch_count].generation = generation;
			epoch = batch_count;
			append(batch_count);
			phase = OPENED;
			tell_batch()
		}
		:: failures < FAILURES -> fail_flush(FLYING)
		fi
	}

	/* The flush of step 5. */
	:: atomic {
		phase == OPENED ->
		if
		:: d_step {
			true ->
			finish_flush(FLYING);
			d = next_seq - 1;
			acknowledged = last;
			phase = RUNNING;
			printf("open\n")
		}
		:: failures < FAILURES -> fail_flush(FLYING)
		fi
	}

	:: atomic {
		phase != OPEN && crashes < CRASHES ->
		crashes++;
		if
		:: cut_power()
		:: kill()
		fi
	}
	od
}
