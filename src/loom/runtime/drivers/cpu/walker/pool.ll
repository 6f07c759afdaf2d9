; The walker: worker threads that run chains of compiled kernels, with no Python in between.
;
; A submission is a table of records (targets/llvm/machine/layout.py). Its leader, a worker or the calling
; thread, walks the table. Records up to the next barrier form a batch; the batch's workgroups are split
; in chunks, and every idle worker helps to claim and run chunks. The leader claims too, so it finishes
; alone if nobody comes, and it waits only for chunks that somebody has begun. Workers without work spin
; for a while, then sleep, each on a condition variable of its own. While callers lead submissions
; themselves, as many workers, the last ones, sleep at once: there is no core for them.
;
; Claiming: Slot.claim holds epoch << 32 | taken from the back << 16 | taken from the front. The leader
; takes chunks from the front and helpers from the back, so that in a chain over the same memory each
; thread keeps meeting the part that is in its cache. A chunk is taken by compare-exchange while fewer
; than Slot.chunks are taken. The leader closes the word (all ones, a new epoch) before it touches the
; other fields, so a helper that read an old word can never succeed with it.
;
; A batch of unknown work (flag 16, of its first record) is shared, and timed: one that is over in 5 microseconds is
; marked (flag 32), and its leader runs it alone from then on, until it once takes 20; nothing is learned of it again.
;
; Invariants: a submission is led by one thread; Submission.state is written by its leader last;
; records are read-only while it runs, but for the counts of indirect dispatches, written by the leader
; between batches, and for those two flags, which change speed alone.

%Record     = type { i64, i64, i64, i64, [3 x i32], i32, i64, i32, i32 }
;                    kernel bindings params indirect groups flags total number start
%Submission = type { ptr, i64, ptr, i64, ptr, ptr, i64, i64, i64, ptr }
;                    records count log state next successor cancel executed excess clock (null, or count + 1 times)
%Indirect   = type { ptr, i32, i32, i32, i32 }
;                    counts, the largest counts allowed
%Slot       = type { i64, ptr, i64, i64, i64, i64, ptr, i64, i64, [7 x i64] }
;                    claim first records total chunk chunks log helpers done
%Worker     = type { ptr, i64, i64, i64, [8 x i64], [4 x i64] }
;                    pool index thread parked condition
%Pool       = type { [8 x i64], [8 x i64], i64, i64, i64, i64, ptr, ptr, i64, i64, [96 x %Slot], [64 x %Worker] }
;                    mutex      done       stop parked workers slots head tail waiting callers (slots from byte 192)

; What a system gives (posix.ll, windows.ll) and a processor (x86.ll, aarch64.ll):
;   thread_start(memory of its handle, function, argument) -> 0 if it runs; thread_join(handle)
;   mutex_init, mutex_lock, mutex_unlock; condition_init, condition_wait(condition, mutex), condition_signal,
;   condition_broadcast; time_after(nanoseconds) -> a time, condition_wait_until(condition, mutex, time) -> not 0 if late
;   now() -> monotonic nanoseconds; give_way(); cpu_relax(); fp_enter() -> settings, fp_leave(settings)
; Handles, mutexes and conditions are of zeroed memory, at most 8 and 64 bytes.

declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.umax.i64(i64, i64)

; ---- pool -------------------------------------------------------------------------------------------

define i64 @loom_pool_size() {
  %end = getelementptr %Pool, ptr null, i64 1
  %size = ptrtoint ptr %end to i64
  ret i64 %size
}

; Start `workers` threads (at most 64) on zeroed memory; returns how many started.
define i64 @loom_pool_start(ptr %pool, i64 %workers) {
entry:
  %done = getelementptr %Pool, ptr %pool, i64 0, i32 1
  call void @mutex_init(ptr %pool)
  call void @condition_init(ptr %done)
  %count = getelementptr %Pool, ptr %pool, i64 0, i32 4
  %slots = getelementptr %Pool, ptr %pool, i64 0, i32 5
  store i64 %workers, ptr %count
  store i64 96, ptr %slots
  br label %close
close:                                        ; every slot starts closed
  %s = phi i64 [ 0, %entry ], [ %s1, %close ]
  %claim = getelementptr %Pool, ptr %pool, i64 0, i32 10, i64 %s, i32 0
  store i64 4294967295, ptr %claim
  %s1 = add i64 %s, 1
  %s.more = icmp ult i64 %s1, 96
  br i1 %s.more, label %close, label %next
next:
  %i = phi i64 [ 0, %close ], [ %i1, %started ]
  %more = icmp ult i64 %i, %workers
  br i1 %more, label %start, label %out
start:
  %info = getelementptr %Pool, ptr %pool, i64 0, i32 11, i64 %i
  %index = getelementptr %Worker, ptr %info, i64 0, i32 1
  %thread = getelementptr %Worker, ptr %info, i64 0, i32 2
  %condition = getelementptr %Worker, ptr %info, i64 0, i32 4
  call void @condition_init(ptr %condition)
  store ptr %pool, ptr %info
  store i64 %i, ptr %index
  %error = call i32 @thread_start(ptr %thread, ptr @loom_worker, ptr %info)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %out, label %started
started:
  %i1 = add i64 %i, 1
  br label %next
out:
  store i64 %i, ptr %count
  ret i64 %i
}

; Tell all workers to end and wait for them. Submissions not begun are left as they are.
define void @loom_pool_stop(ptr %pool) {
entry:
  %stop = getelementptr %Pool, ptr %pool, i64 0, i32 2
  %count = getelementptr %Pool, ptr %pool, i64 0, i32 4
  %workers = load i64, ptr %count
  call void @mutex_lock(ptr %pool)
  store atomic i64 1, ptr %stop seq_cst, align 8
  %woken = call i64 @wake(ptr %pool, i64 %workers, i64 %workers)
  call void @mutex_unlock(ptr %pool)
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %join ]
  %more = icmp ult i64 %i, %workers
  br i1 %more, label %join, label %out
join:
  %thread = getelementptr %Pool, ptr %pool, i64 0, i32 11, i64 %i, i32 2
  %id = load i64, ptr %thread
  call void @thread_join(i64 %id)
  %i1 = add i64 %i, 1
  br label %next
out:
  ret void
}

; Wake at most `most` sleeping workers with numbers below `limit`; the mutex is held. Returns how many.
define internal i64 @wake(ptr %pool, i64 %limit, i64 %most) {
entry:
  %parked = getelementptr %Pool, ptr %pool, i64 0, i32 3
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %step ]
  %woken = phi i64 [ 0, %entry ], [ %woken1, %step ]
  %inside = icmp ult i64 %i, %limit
  %wanted = icmp ult i64 %woken, %most
  %go = and i1 %inside, %wanted
  br i1 %go, label %look, label %out
look:
  %asleep.field = getelementptr %Pool, ptr %pool, i64 0, i32 11, i64 %i, i32 3
  %asleep = load i64, ptr %asleep.field
  %is.asleep = icmp ne i64 %asleep, 0
  br i1 %is.asleep, label %rouse, label %step
rouse:
  %condition = getelementptr %Pool, ptr %pool, i64 0, i32 11, i64 %i, i32 4
  store i64 0, ptr %asleep.field
  %before = atomicrmw sub ptr %parked, i64 1 seq_cst
  call void @condition_signal(ptr %condition)
  br label %step
step:
  %add = phi i64 [ 0, %look ], [ 1, %rouse ]
  %woken1 = add i64 %woken, %add
  %i1 = add i64 %i, 1
  br label %next
out:
  ret i64 %woken
}

; ---- queue ------------------------------------------------------------------------------------------

; Append a submission to the ready queue; the mutex is held.
define internal void @enqueue(ptr %pool, ptr %sub) {
entry:
  %workers.field = getelementptr %Pool, ptr %pool, i64 0, i32 4
  %workers = load i64, ptr %workers.field
  %head = getelementptr %Pool, ptr %pool, i64 0, i32 6
  %tail = getelementptr %Pool, ptr %pool, i64 0, i32 7
  %waiting = getelementptr %Pool, ptr %pool, i64 0, i32 8
  %link = getelementptr %Submission, ptr %sub, i64 0, i32 4
  store ptr null, ptr %link
  %last = load ptr, ptr %tail
  %empty = icmp eq ptr %last, null
  br i1 %empty, label %first, label %append
first:
  store ptr %sub, ptr %head
  br label %done
append:
  %last.link = getelementptr %Submission, ptr %last, i64 0, i32 4
  store ptr %sub, ptr %last.link
  br label %done
done:
  store ptr %sub, ptr %tail
  %n = load i64, ptr %waiting
  %n1 = add i64 %n, 1
  store atomic i64 %n1, ptr %waiting seq_cst, align 8
  %woken = call i64 @wake(ptr %pool, i64 %workers, i64 1)
  ret void
}

; Take the oldest ready submission, or null.
define internal ptr @dequeue(ptr %pool) {
entry:
  %head = getelementptr %Pool, ptr %pool, i64 0, i32 6
  %tail = getelementptr %Pool, ptr %pool, i64 0, i32 7
  %waiting = getelementptr %Pool, ptr %pool, i64 0, i32 8
  call void @mutex_lock(ptr %pool)
  %sub = load ptr, ptr %head
  %none = icmp eq ptr %sub, null
  br i1 %none, label %out, label %take
take:
  %link = getelementptr %Submission, ptr %sub, i64 0, i32 4
  %following = load ptr, ptr %link
  store ptr %following, ptr %head
  %n = load i64, ptr %waiting
  %n1 = sub i64 %n, 1
  store atomic i64 %n1, ptr %waiting seq_cst, align 8
  %emptied = icmp eq ptr %following, null
  br i1 %emptied, label %clear, label %out
clear:
  store ptr null, ptr %tail
  br label %out
out:
  call void @mutex_unlock(ptr %pool)
  ret ptr %sub
}

; Hand a submission to the workers, after `previous` (of the same unit) if that is not done yet.
define void @loom_submit(ptr %pool, ptr %sub, ptr %previous) {
entry:
  call void @mutex_lock(ptr %pool)
  %alone = icmp eq ptr %previous, null
  br i1 %alone, label %ready, label %check
check:
  %state = getelementptr %Submission, ptr %previous, i64 0, i32 3
  %s = load atomic i64, ptr %state acquire, align 8
  %finished = icmp eq i64 %s, 2
  br i1 %finished, label %ready, label %chain
chain:
  %successor = getelementptr %Submission, ptr %previous, i64 0, i32 5
  store ptr %sub, ptr %successor
  br label %out
ready:
  call void @enqueue(ptr %pool, ptr %sub)
  br label %out
out:
  call void @mutex_unlock(ptr %pool)
  ret void
}

; Mark a submission done, release its successor, wake those who wait.
define internal void @finish(ptr %pool, ptr %sub) {
entry:
  %done = getelementptr %Pool, ptr %pool, i64 0, i32 1
  %state = getelementptr %Submission, ptr %sub, i64 0, i32 3
  %link = getelementptr %Submission, ptr %sub, i64 0, i32 5
  call void @mutex_lock(ptr %pool)
  %successor = load ptr, ptr %link
  %none = icmp eq ptr %successor, null
  br i1 %none, label %mark, label %release
release:
  call void @enqueue(ptr %pool, ptr %successor)
  br label %mark
mark:                                         ; last touch: the owner may free the memory from here on
  store atomic i64 2, ptr %state release, align 8
  call void @condition_broadcast(ptr %done)
  call void @mutex_unlock(ptr %pool)
  ret void
}

; Wait until a submission is done, at most `nanoseconds`; returns 1 if it is.
define i32 @loom_wait(ptr %pool, ptr %sub, i64 %nanoseconds) {
entry:
  %done = getelementptr %Pool, ptr %pool, i64 0, i32 1
  %state = getelementptr %Submission, ptr %sub, i64 0, i32 3
  br label %spin
spin:
  %turn = phi i64 [ 0, %entry ], [ %turn1, %relax ]
  %s = load atomic i64, ptr %state acquire, align 8
  %ended = icmp eq i64 %s, 2
  br i1 %ended, label %yes, label %again
again:
  %turn1 = add i64 %turn, 1
  %tired = icmp ugt i64 %turn1, 1000
  br i1 %tired, label %sleep, label %relax
relax:
  call void @cpu_relax()
  br label %spin
sleep:
  %until = call i64 @time_after(i64 %nanoseconds)
  call void @mutex_lock(ptr %pool)
  br label %check
check:
  %s2 = load atomic i64, ptr %state acquire, align 8
  %ended2 = icmp eq i64 %s2, 2
  br i1 %ended2, label %unlock, label %doze
doze:
  %late = call i32 @condition_wait_until(ptr %done, ptr %pool, i64 %until)
  %over = icmp ne i32 %late, 0
  br i1 %over, label %unlock, label %check
unlock:
  call void @mutex_unlock(ptr %pool)
  %s3 = load atomic i64, ptr %state acquire, align 8
  %ended3 = icmp eq i64 %s3, 2
  %result = zext i1 %ended3 to i32
  ret i32 %result
yes:
  ret i32 1
}

; ---- running ----------------------------------------------------------------------------------------

; Run the groups begin .. end of a batch of `count` records that start at `first`.
define internal void @run_groups(ptr %first, i64 %count, ptr %log, i64 %begin, i64 %end) {
entry:                                        ; nothing of a run that is to end where it is
  %stop.field = getelementptr i64, ptr %log, i64 3
  %told = load atomic i64, ptr %stop.field monotonic, align 8
  %ends = icmp ne i64 %told, 0
  br i1 %ends, label %out, label %search
search:                                       ; the last record that starts at or before `begin`
  %low = phi i64 [ 0, %entry ], [ %low1, %half ]
  %high = phi i64 [ %count, %entry ], [ %high1, %half ]
  %width = sub i64 %high, %low
  %one = icmp ule i64 %width, 1
  br i1 %one, label %run, label %half
half:
  %step = lshr i64 %width, 1
  %middle = add i64 %low, %step
  %at = getelementptr %Record, ptr %first, i64 %middle, i32 8
  %at32 = load i32, ptr %at
  %at64 = zext i32 %at32 to i64
  %before = icmp ule i64 %at64, %begin
  %low1 = select i1 %before, i64 %middle, i64 %low
  %high1 = select i1 %before, i64 %high, i64 %middle
  br label %search
run:
  %r = phi i64 [ %low, %search ], [ %r1, %called ]
  %from = phi i64 [ %begin, %search ], [ %upto, %called ]
  %record = getelementptr %Record, ptr %first, i64 %r
  %entry.field = getelementptr %Record, ptr %record, i64 0, i32 0
  %total.field = getelementptr %Record, ptr %record, i64 0, i32 6
  %start.field = getelementptr %Record, ptr %record, i64 0, i32 8
  %address = load i64, ptr %entry.field
  %kernel = inttoptr i64 %address to ptr
  %total = load i64, ptr %total.field
  %start32 = load i32, ptr %start.field
  %start = zext i32 %start32 to i64
  %stop = add i64 %start, %total
  %upto = call i64 @llvm.umin.i64(i64 %stop, i64 %end)
  %a = sub i64 %from, %start
  %b = sub i64 %upto, %start
  call void %kernel(ptr %record, ptr %log, i64 %a, i64 %b)
  br label %called
called:
  %r1 = add i64 %r, 1
  %more = icmp ult i64 %upto, %end
  br i1 %more, label %run, label %out
out:
  ret void
}

; Chunks taken, front and back together, according to a claim word (more than any batch has if closed).
define internal i64 @taken(i64 %word) {
  %front = and i64 %word, 65535
  %shifted = lshr i64 %word, 16
  %back = and i64 %shifted, 65535
  %sum = add i64 %front, %back
  ret i64 %sum
}

; Claim one chunk of a slot's batch, from the front or the back, and run it; returns 1 if there was one.
define internal i1 @help(ptr %slot, i1 %from.front) {
entry:
  %first.field = getelementptr %Slot, ptr %slot, i64 0, i32 1
  %count.field = getelementptr %Slot, ptr %slot, i64 0, i32 2
  %total.field = getelementptr %Slot, ptr %slot, i64 0, i32 3
  %chunk.field = getelementptr %Slot, ptr %slot, i64 0, i32 4
  %chunks.field = getelementptr %Slot, ptr %slot, i64 0, i32 5
  %log.field = getelementptr %Slot, ptr %slot, i64 0, i32 6
  %done.field = getelementptr %Slot, ptr %slot, i64 0, i32 8
  %word = load atomic i64, ptr %slot acquire, align 8
  %taken = call i64 @taken(i64 %word)
  %chunks = load atomic i64, ptr %chunks.field monotonic, align 8
  %open = icmp ult i64 %taken, %chunks
  br i1 %open, label %claim, label %none
claim:
  %one = select i1 %from.front, i64 1, i64 65536
  %claimed = add i64 %word, %one
  %pair = cmpxchg ptr %slot, i64 %word, i64 %claimed acq_rel monotonic
  %won = extractvalue { i64, i1 } %pair, 1
  br i1 %won, label %run, label %none
run:
  %first = load ptr, ptr %first.field
  %count = load i64, ptr %count.field
  %total = load i64, ptr %total.field
  %chunk = load i64, ptr %chunk.field
  %log = load ptr, ptr %log.field
  %front = and i64 %word, 65535
  %shifted = lshr i64 %word, 16
  %back = and i64 %shifted, 65535
  %last = sub i64 %chunks, 1
  %mirrored = sub i64 %last, %back
  %which = select i1 %from.front, i64 %front, i64 %mirrored
  %begin = mul i64 %which, %chunk
  %limit = add i64 %begin, %chunk
  %end = call i64 @llvm.umin.i64(i64 %limit, i64 %total)
  call void @run_groups(ptr %first, i64 %count, ptr %log, i64 %begin, i64 %end)
  %before = atomicrmw add ptr %done.field, i64 1 release
  ret i1 1
none:
  ret i1 0
}

; Run a batch with whoever helps; returns when all of it has run.
define internal void @run_batch(ptr %pool, ptr %slot, ptr %first, i64 %count, i64 %total, i64 %chunk, ptr %log) {
entry:
  %parked.field = getelementptr %Pool, ptr %pool, i64 0, i32 3
  %helpers.field = getelementptr %Slot, ptr %slot, i64 0, i32 7
  %helpers = load i64, ptr %helpers.field
  %first.field = getelementptr %Slot, ptr %slot, i64 0, i32 1
  %count.field = getelementptr %Slot, ptr %slot, i64 0, i32 2
  %total.field = getelementptr %Slot, ptr %slot, i64 0, i32 3
  %chunk.field = getelementptr %Slot, ptr %slot, i64 0, i32 4
  %chunks.field = getelementptr %Slot, ptr %slot, i64 0, i32 5
  %log.field = getelementptr %Slot, ptr %slot, i64 0, i32 6
  %done.field = getelementptr %Slot, ptr %slot, i64 0, i32 8
  %round = add i64 %total, %chunk
  %round1 = sub i64 %round, 1
  %chunks = udiv i64 %round1, %chunk
  store ptr %first, ptr %first.field
  store i64 %count, ptr %count.field
  store i64 %total, ptr %total.field
  store i64 %chunk, ptr %chunk.field
  store ptr %log, ptr %log.field
  store atomic i64 %chunks, ptr %chunks.field monotonic, align 8
  store atomic i64 0, ptr %done.field monotonic, align 8
  %closed = load i64, ptr %slot
  %word = and i64 %closed, -4294967296        ; same epoch, nothing taken: open
  store atomic i64 %word, ptr %slot seq_cst, align 8
  %parked = load atomic i64, ptr %parked.field seq_cst, align 8
  %asleep = icmp ne i64 %parked, 0
  br i1 %asleep, label %wake, label %begin
wake:
  %least = call i64 @llvm.umin.i64(i64 %chunks, i64 %helpers)
  call void @mutex_lock(ptr %pool)
  %woken = call i64 @wake(ptr %pool, i64 %helpers, i64 %least)
  call void @mutex_unlock(ptr %pool)
  br label %begin
begin:
  %flags.field = getelementptr %Record, ptr %first, i64 0, i32 5
  %flags = load atomic i32, ptr %flags.field monotonic, align 4
  %unknown = and i32 %flags, 16
  %is.unknown = icmp ne i32 %unknown, 0
  br i1 %is.unknown, label %measure, label %claim
measure:                                      ; the time of one chunk tells that of all
  %began = call i64 @now()
  %ran.first = call i1 @help(ptr %slot, i1 1)
  %ended = call i64 @now()
  %took = sub i64 %ended, %began
  %whole = mul i64 %took, %chunks
  %brief = icmp ult i64 %whole, 5000
  %short = and i1 %ran.first, %brief
  br i1 %short, label %mark, label %claim
mark:
  %marked = or i32 %flags, 32
  store atomic i32 %marked, ptr %flags.field monotonic, align 4
  br label %claim
claim:
  %ran = call i1 @help(ptr %slot, i1 1)
  br i1 %ran, label %claim, label %exhausted
exhausted:                                    ; help may also have lost a race: look at the word itself
  %now = load atomic i64, ptr %slot acquire, align 8
  %taken = call i64 @taken(i64 %now)
  %left = icmp ult i64 %taken, %chunks
  br i1 %left, label %claim, label %wait
wait:
  %turn = phi i64 [ 0, %exhausted ], [ %turn1, %rest ]
  %done = load atomic i64, ptr %done.field acquire, align 8
  %all = icmp eq i64 %done, %chunks
  br i1 %all, label %close, label %idle
idle:
  %turn1 = add i64 %turn, 1
  %long = icmp ugt i64 %turn1, 2000
  br i1 %long, label %yield, label %pause
yield:                                        ; whoever holds the last chunk may need this core
  call void @give_way()
  br label %rest
pause:
  call void @cpu_relax()
  br label %rest
rest:
  br label %wait
close:
  %epoch = add i64 %word, 4294967296
  %shut = or i64 %epoch, 4294967295
  store atomic i64 %shut, ptr %slot release, align 8
  ret void
}

; Fetch the group counts of an indirect dispatch into its record; of too many none is run, and the first is told.
define internal void @fetch_counts(ptr %record, ptr %sub) {
  %indirect.field = getelementptr %Record, ptr %record, i64 0, i32 3
  %groups = getelementptr %Record, ptr %record, i64 0, i32 4
  %total.field = getelementptr %Record, ptr %record, i64 0, i32 6
  %address = load i64, ptr %indirect.field
  %indirect = inttoptr i64 %address to ptr
  %counts = load ptr, ptr %indirect
  %y.at = getelementptr i32, ptr %counts, i64 1
  %z.at = getelementptr i32, ptr %counts, i64 2
  %x = load i32, ptr %counts
  %y = load i32, ptr %y.at
  %z = load i32, ptr %z.at
  %gy = getelementptr i32, ptr %groups, i64 1
  %gz = getelementptr i32, ptr %groups, i64 2
  store i32 %x, ptr %groups
  store i32 %y, ptr %gy
  store i32 %z, ptr %gz
  %most.x.at = getelementptr %Indirect, ptr %indirect, i64 0, i32 1
  %most.y.at = getelementptr %Indirect, ptr %indirect, i64 0, i32 2
  %most.z.at = getelementptr %Indirect, ptr %indirect, i64 0, i32 3
  %most.x = load i32, ptr %most.x.at
  %most.y = load i32, ptr %most.y.at
  %most.z = load i32, ptr %most.z.at
  %x.over = icmp ugt i32 %x, %most.x
  %y.over = icmp ugt i32 %y, %most.y
  %z.over = icmp ugt i32 %z, %most.z
  %xy.over = or i1 %x.over, %y.over
  %xyz.over = or i1 %xy.over, %z.over
  %x64 = zext i32 %x to i64
  %y64 = zext i32 %y to i64
  %z64 = zext i32 %z to i64
  %xy = mul i64 %x64, %y64                    ; fits 64 bits; times z it may not
  %xy.most = call i64 @llvm.umin.i64(i64 %xy, i64 4294967296)
  %total = mul i64 %xy.most, %z64
  %total.over = icmp ugt i64 %total, 4294967295
  %over = or i1 %xyz.over, %total.over
  br i1 %over, label %excess, label %fits
fits:
  store i64 %total, ptr %total.field
  ret void
excess:
  %number.field = getelementptr %Record, ptr %record, i64 0, i32 7
  %number = load i32, ptr %number.field
  %number64 = zext i32 %number to i64
  %mark = add i64 %number64, 1
  %excess.field = getelementptr %Submission, ptr %sub, i64 0, i32 8
  %before = load i64, ptr %excess.field
  %none.before = icmp eq i64 %before, 0
  %first = select i1 %none.before, i64 %mark, i64 %before
  store i64 0, ptr %total.field
  store i64 %first, ptr %excess.field
  ret void
}

; Walk a submission's table from where it stands, in the slot given. Returns 0 if `deadline` (0: none)
; passed before the end; the submission then stands at the batch to go on with.
define internal i1 @lead(ptr %pool, ptr %slot, ptr %sub, i64 %helpers, i64 %deadline) {
entry:
  %count.field = getelementptr %Submission, ptr %sub, i64 0, i32 1
  %log.field = getelementptr %Submission, ptr %sub, i64 0, i32 2
  %cancel.field = getelementptr %Submission, ptr %sub, i64 0, i32 6
  %executed.field = getelementptr %Submission, ptr %sub, i64 0, i32 7
  %clock.field = getelementptr %Submission, ptr %sub, i64 0, i32 9
  %helpers.field = getelementptr %Slot, ptr %slot, i64 0, i32 7
  %records = load ptr, ptr %sub
  %times = load ptr, ptr %clock.field
  %profiled = icmp ne ptr %times, null
  %count = load i64, ptr %count.field
  %log = load ptr, ptr %log.field
  %fault.field = getelementptr i64, ptr %log, i64 2
  store atomic i64 %helpers, ptr %helpers.field monotonic, align 8
  %parts = add i64 %helpers, 1
  %pieces = mul i64 %parts, 8
  %timed = icmp ne i64 %deadline, 0
  %first.batch = load atomic i64, ptr %executed.field monotonic, align 8
  br label %batch
batch:
  %i = phi i64 [ %first.batch, %entry ], [ %j, %ran ]
  %turns = phi i64 [ 0, %entry ], [ %turns.after, %ran ]
  br i1 %profiled, label %stamp, label %stamped
stamp:
  %stamp.time = call i64 @now()
  %stamp.at = getelementptr i64, ptr %times, i64 %i
  store i64 %stamp.time, ptr %stamp.at
  br label %stamped
stamped:
  store atomic i64 %i, ptr %executed.field monotonic, align 8
  %more = icmp ult i64 %i, %count
  br i1 %more, label %clock, label %out
clock:                                        ; look at the time after every shared or 256 small batches
  %due = icmp uge i64 %turns, 256
  %look.now = and i1 %timed, %due
  br i1 %look.now, label %time, label %check
time:
  %now = call i64 @now()
  %over = icmp ugt i64 %now, %deadline
  br i1 %over, label %late, label %check
late:
  ret i1 0
check:
  %record = getelementptr %Record, ptr %records, i64 %i
  %flags.field = getelementptr %Record, ptr %record, i64 0, i32 5
  %flags = load i32, ptr %flags.field
  %cancel = load atomic i64, ptr %cancel.field monotonic, align 8
  %fault = load atomic i64, ptr %fault.field monotonic, align 8
  %cancelled = icmp ne i64 %cancel, 0
  %failed = icmp ne i64 %fault, 0
  %waits.flag = and i32 %flags, 8
  %dependent = icmp ne i32 %waits.flag, 0
  %left.out = and i1 %failed, %dependent
  %stopped = or i1 %cancelled, %left.out
  br i1 %stopped, label %out, label %begin
begin:
  %indirect = and i32 %flags, 2
  %is.indirect = icmp ne i32 %indirect, 0
  br i1 %is.indirect, label %fetch, label %extend
fetch:
  call void @fetch_counts(ptr %record, ptr %sub)
  br label %extend
extend:                                       ; up to the next record that must wait
  %e = phi i64 [ %i, %begin ], [ %i, %fetch ], [ %j, %same ]
  %j = add i64 %e, 1
  %inside = icmp ult i64 %j, %count
  br i1 %inside, label %look, label %ready
look:
  %ahead = getelementptr %Record, ptr %records, i64 %j, i32 5
  %ahead.flags = load i32, ptr %ahead
  %waits = and i32 %ahead.flags, 3
  %must = icmp ne i32 %waits, 0
  br i1 %must, label %ready, label %same
same:
  br label %extend
ready:
  %last.total = getelementptr %Record, ptr %records, i64 %e, i32 6
  %last.start = getelementptr %Record, ptr %records, i64 %e, i32 8
  %lt = load i64, ptr %last.total
  %ls = load i32, ptr %last.start
  %ls64 = zext i32 %ls to i64
  %total = add i64 %lt, %ls64
  %empty = icmp eq i64 %total, 0
  br i1 %empty, label %ran, label %choose
choose:
  %n = sub i64 %j, %i
  %small = and i32 %flags, 4
  %is.small = icmp ne i32 %small, 0
  %one = icmp ule i64 %total, 1
  %lonely = icmp eq i64 %helpers, 0
  %alone.a = or i1 %is.small, %one
  %alone = or i1 %alone.a, %lonely
  br i1 %alone, label %alone.run, label %learned
learned:
  %short = and i32 %flags, 32
  %is.short = icmp ne i32 %short, 0
  br i1 %is.short, label %watched.run, label %share
watched.run:
  %began = call i64 @now()
  call void @run_groups(ptr %record, i64 %n, ptr %log, i64 0, i64 %total)
  %ended = call i64 @now()
  %took = sub i64 %ended, %began
  %slow = icmp ugt i64 %took, 20000
  br i1 %slow, label %unlearn, label %ran
unlearn:
  %shared = and i32 %flags, -49
  store atomic i32 %shared, ptr %flags.field monotonic, align 4
  br label %ran
alone.run:
  call void @run_groups(ptr %record, i64 %n, ptr %log, i64 0, i64 %total)
  %alone.weight = select i1 %is.small, i64 1, i64 256
  br label %ran
share:                                        ; at least the groups the flags ask for, at most 65535 chunks
  %piece = udiv i64 %total, %pieces
  %grain.bits = lshr i32 %flags, 8
  %grain.log = zext i32 %grain.bits to i64
  %grain = shl i64 1, %grain.log
  %even.up = add i64 %total, %helpers
  %even = udiv i64 %even.up, %parts
  %coarse = call i64 @llvm.umin.i64(i64 %grain, i64 %even)
  %chunk.a = call i64 @llvm.umax.i64(i64 %piece, i64 %coarse)
  %chunk = call i64 @llvm.umax.i64(i64 %chunk.a, i64 1)
  call void @run_batch(ptr %pool, ptr %slot, ptr %record, i64 %n, i64 %total, i64 %chunk, ptr %log)
  br label %ran
ran:
  %weight = phi i64 [ 1, %ready ], [ %alone.weight, %alone.run ], [ 1, %watched.run ], [ 256, %unlearn ], [ 256, %share ]
  %restart = select i1 %due, i64 0, i64 %turns
  %turns.after = add i64 %restart, %weight
  br label %batch
out:
  ret i1 1
}

; Run a submission in the calling thread, in a slot of its own, the workers that callers leave a core for
; helping, for at most `nanoseconds`; what is left then goes to the workers. Returns 1 if it is done.
define i32 @loom_run(ptr %pool, ptr %sub, i64 %slot.number, i64 %nanoseconds) {
entry:
  %callers = getelementptr %Pool, ptr %pool, i64 0, i32 9
  %came = atomicrmw add ptr %callers, i64 1 monotonic
  %environment = call i64 @fp_enter()
  %slot = getelementptr %Pool, ptr %pool, i64 0, i32 10, i64 %slot.number
  %workers.field = getelementptr %Pool, ptr %pool, i64 0, i32 4
  %workers = load i64, ptr %workers.field
  %busy = add i64 %came, 1
  %free = sub i64 %workers, %busy
  %free.any = icmp ult i64 %busy, %workers
  %helpers = select i1 %free.any, i64 %free, i64 0
  %began = call i64 @now()
  %deadline = add i64 %began, %nanoseconds
  %ended = call i1 @lead(ptr %pool, ptr %slot, ptr %sub, i64 %helpers, i64 %deadline)
  call void @fp_leave(i64 %environment)
  %left = atomicrmw sub ptr %callers, i64 1 monotonic
  br i1 %ended, label %done, label %rest
done:
  call void @finish(ptr %pool, ptr %sub)
  ret i32 1
rest:
  call void @loom_submit(ptr %pool, ptr %sub, ptr null)
  ret i32 0
}

; Help any slot that has work; returns 1 if some was done.
define internal i1 @help_anyone(ptr %pool, i64 %me) {
entry:
  %slots.field = getelementptr %Pool, ptr %pool, i64 0, i32 5
  %slots = load i64, ptr %slots.field
  br label %next
next:
  %s = phi i64 [ 0, %entry ], [ %s1, %skip ]
  %slot = getelementptr %Pool, ptr %pool, i64 0, i32 10, i64 %s
  %word = load atomic i64, ptr %slot monotonic, align 8
  %low = call i64 @taken(i64 %word)
  %chunks.field = getelementptr %Slot, ptr %slot, i64 0, i32 5
  %helpers.field = getelementptr %Slot, ptr %slot, i64 0, i32 7
  %chunks = load atomic i64, ptr %chunks.field monotonic, align 8
  %helpers = load atomic i64, ptr %helpers.field monotonic, align 8
  %open = icmp ult i64 %low, %chunks
  %welcome = icmp ult i64 %me, %helpers
  %try = and i1 %open, %welcome
  br i1 %try, label %work, label %skip
work:
  %ran = call i1 @help(ptr %slot, i1 0)
  br i1 %ran, label %yes, label %skip
skip:
  %s1 = add i64 %s, 1
  %more = icmp ult i64 %s1, %slots
  br i1 %more, label %next, label %no
yes:
  ret i1 1
no:
  ret i1 0
}

; The life of a worker: lead what is queued, else help, else spin, else sleep.
define internal ptr @loom_worker(ptr %info) {
entry:
  %pool = load ptr, ptr %info
  %index.field = getelementptr %Worker, ptr %info, i64 0, i32 1
  %me = load i64, ptr %index.field
  %asleep.field = getelementptr %Worker, ptr %info, i64 0, i32 3
  %condition = getelementptr %Worker, ptr %info, i64 0, i32 4
  %callers.field = getelementptr %Pool, ptr %pool, i64 0, i32 9
  %stop.field = getelementptr %Pool, ptr %pool, i64 0, i32 2
  %parked = getelementptr %Pool, ptr %pool, i64 0, i32 3
  %workers.field = getelementptr %Pool, ptr %pool, i64 0, i32 4
  %waiting = getelementptr %Pool, ptr %pool, i64 0, i32 8
  %slot = getelementptr %Pool, ptr %pool, i64 0, i32 10, i64 %me
  %environment = call i64 @fp_enter()
  br label %look
look:
  %spins = phi i64 [ 0, %entry ], [ 0, %led ], [ 0, %helped ], [ %spins1, %relax ], [ 0, %woken ], [ 0, %lost ]
  %stop = load atomic i64, ptr %stop.field monotonic, align 8
  %ending = icmp ne i64 %stop, 0
  br i1 %ending, label %out, label %queue
queue:
  %n = load atomic i64, ptr %waiting monotonic, align 8
  %some = icmp ne i64 %n, 0
  br i1 %some, label %take, label %assist
take:
  %sub = call ptr @dequeue(ptr %pool)
  %gone = icmp eq ptr %sub, null
  br i1 %gone, label %lost, label %led
lost:
  br label %look
led:
  %workers = load i64, ptr %workers.field
  %alone = icmp eq i64 %workers, 1
  %helpers = select i1 %alone, i64 0, i64 %workers
  %ended = call i1 @lead(ptr %pool, ptr %slot, ptr %sub, i64 %helpers, i64 0)
  call void @finish(ptr %pool, ptr %sub)
  br label %look
assist:
  %ran = call i1 @help_anyone(ptr %pool, i64 %me)
  br i1 %ran, label %helped, label %idle
helped:
  br label %look
idle:                                         ; callers at work take the cores of the last workers
  %spins1 = add i64 %spins, 1
  %tired = icmp ugt i64 %spins1, 20000
  %all = load i64, ptr %workers.field
  %callers = load atomic i64, ptr %callers.field monotonic, align 8
  %claimed = add i64 %me, %callers
  %crowded = icmp uge i64 %claimed, %all
  %rest = or i1 %tired, %crowded
  br i1 %rest, label %park, label %relax
relax:
  call void @cpu_relax()
  br label %look
park:                                         ; announce, look once more, then sleep until woken
  call void @mutex_lock(ptr %pool)
  store i64 1, ptr %asleep.field
  %p = atomicrmw add ptr %parked, i64 1 seq_cst
  %stop2 = load atomic i64, ptr %stop.field seq_cst, align 8
  %n2 = load atomic i64, ptr %waiting seq_cst, align 8
  %due = or i64 %stop2, %n2
  %must = icmp ne i64 %due, 0
  br i1 %must, label %cancel, label %last
last:
  %open = call i1 @anything_open(ptr %pool, i64 %me)
  br i1 %open, label %cancel, label %check
check:
  %asleep = load i64, ptr %asleep.field
  %still = icmp ne i64 %asleep, 0
  br i1 %still, label %sleep, label %woken
sleep:
  call void @condition_wait(ptr %condition, ptr %pool)
  br label %check
cancel:
  store i64 0, ptr %asleep.field
  %q = atomicrmw sub ptr %parked, i64 1 seq_cst
  br label %woken
woken:
  call void @mutex_unlock(ptr %pool)
  br label %look
out:
  ret ptr null
}

; 1 if a slot has chunks this worker may claim.
define internal i1 @anything_open(ptr %pool, i64 %me) {
entry:
  %slots.field = getelementptr %Pool, ptr %pool, i64 0, i32 5
  %slots = load i64, ptr %slots.field
  br label %next
next:
  %s = phi i64 [ 0, %entry ], [ %s1, %skip ]
  %slot = getelementptr %Pool, ptr %pool, i64 0, i32 10, i64 %s
  %word = load atomic i64, ptr %slot seq_cst, align 8
  %low = call i64 @taken(i64 %word)
  %chunks.field = getelementptr %Slot, ptr %slot, i64 0, i32 5
  %helpers.field = getelementptr %Slot, ptr %slot, i64 0, i32 7
  %chunks = load atomic i64, ptr %chunks.field monotonic, align 8
  %helpers = load atomic i64, ptr %helpers.field monotonic, align 8
  %open = icmp ult i64 %low, %chunks
  %welcome = icmp ult i64 %me, %helpers
  %both = and i1 %open, %welcome
  br i1 %both, label %yes, label %skip
skip:
  %s1 = add i64 %s, 1
  %more = icmp ult i64 %s1, %slots
  br i1 %more, label %next, label %no
yes:
  ret i1 1
no:
  ret i1 0
}
