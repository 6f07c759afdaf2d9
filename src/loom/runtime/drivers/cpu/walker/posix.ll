
; ---- threads and time of POSIX ----------------------------------------------------------------------
; @monotonic, the number of the monotonic clock, is of the system. Conditions wait by the clock of the day.

%Time = type { i64, i64 }

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_timedwait(ptr, ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()

define internal i32 @thread_start(ptr %handle, ptr %function, ptr %argument) {
  %error = call i32 @pthread_create(ptr %handle, ptr null, ptr %function, ptr %argument)
  ret i32 %error
}
define internal void @thread_join(i64 %handle) {
  call i32 @pthread_join(i64 %handle, ptr null)
  ret void
}
define internal void @mutex_init(ptr %mutex) {
  call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  ret void
}
define internal void @mutex_lock(ptr %mutex) {
  call i32 @pthread_mutex_lock(ptr %mutex)
  ret void
}
define internal void @mutex_unlock(ptr %mutex) {
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}
define internal void @condition_init(ptr %condition) {
  call i32 @pthread_cond_init(ptr %condition, ptr null)
  ret void
}
define internal void @condition_wait(ptr %condition, ptr %mutex) {
  call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  ret void
}
define internal i32 @condition_wait_until(ptr %condition, ptr %mutex, i64 %time) {
  %until = alloca %Time
  %fraction = getelementptr %Time, ptr %until, i64 0, i32 1
  %seconds = udiv i64 %time, 1000000000
  %rest = urem i64 %time, 1000000000
  store i64 %seconds, ptr %until
  store i64 %rest, ptr %fraction
  %late = call i32 @pthread_cond_timedwait(ptr %condition, ptr %mutex, ptr %until)
  ret i32 %late
}
define internal void @condition_signal(ptr %condition) {
  call i32 @pthread_cond_signal(ptr %condition)
  ret void
}
define internal void @condition_broadcast(ptr %condition) {
  call i32 @pthread_cond_broadcast(ptr %condition)
  ret void
}
define internal void @give_way() {
  call i32 @sched_yield()
  ret void
}
define internal i64 @clock_nanoseconds(i32 %clock) {
  %time = alloca %Time
  call i32 @clock_gettime(i32 %clock, ptr %time)
  %fraction = getelementptr %Time, ptr %time, i64 0, i32 1
  %seconds = load i64, ptr %time
  %rest = load i64, ptr %fraction
  %scaled = mul i64 %seconds, 1000000000
  %sum = add i64 %scaled, %rest
  ret i64 %sum
}
define internal i64 @time_after(i64 %nanoseconds) {
  %now = call i64 @clock_nanoseconds(i32 0)
  %then = add i64 %now, %nanoseconds
  ret i64 %then
}
define internal i64 @now() {
  %clock = load i32, ptr @monotonic
  %now = call i64 @clock_nanoseconds(i32 %clock)
  ret i64 %now
}
