
; ---- threads and time of Windows --------------------------------------------------------------------
; A mutex is a slim lock, zero when it is free; a condition is zero when nobody waits. Times are milliseconds since
; the system started.

declare ptr @CreateThread(ptr, i64, ptr, ptr, i32, ptr)
declare i32 @WaitForSingleObject(ptr, i32)
declare i32 @CloseHandle(ptr)
declare void @AcquireSRWLockExclusive(ptr)
declare void @ReleaseSRWLockExclusive(ptr)
declare i32 @SleepConditionVariableSRW(ptr, ptr, i32, i32)
declare void @WakeConditionVariable(ptr)
declare void @WakeAllConditionVariable(ptr)
declare i32 @SwitchToThread()
declare i64 @GetTickCount64()
declare i32 @QueryPerformanceCounter(ptr)
declare i32 @QueryPerformanceFrequency(ptr)

define internal i32 @thread_start(ptr %handle, ptr %function, ptr %argument) {
  %thread = call ptr @CreateThread(ptr null, i64 0, ptr %function, ptr %argument, i32 0, ptr null)
  store ptr %thread, ptr %handle
  %none = icmp eq ptr %thread, null
  %error = zext i1 %none to i32
  ret i32 %error
}
define internal void @thread_join(i64 %handle) {
  %thread = inttoptr i64 %handle to ptr
  call i32 @WaitForSingleObject(ptr %thread, i32 -1)
  call i32 @CloseHandle(ptr %thread)
  ret void
}
define internal void @mutex_init(ptr %mutex) {
  store i64 0, ptr %mutex
  ret void
}
define internal void @mutex_lock(ptr %mutex) {
  call void @AcquireSRWLockExclusive(ptr %mutex)
  ret void
}
define internal void @mutex_unlock(ptr %mutex) {
  call void @ReleaseSRWLockExclusive(ptr %mutex)
  ret void
}
define internal void @condition_init(ptr %condition) {
  store i64 0, ptr %condition
  ret void
}
define internal void @condition_wait(ptr %condition, ptr %mutex) {
  call i32 @SleepConditionVariableSRW(ptr %condition, ptr %mutex, i32 -1, i32 0)
  ret void
}
define internal i32 @condition_wait_until(ptr %condition, ptr %mutex, i64 %time) {
  %now = call i64 @GetTickCount64()
  %over = icmp uge i64 %now, %time
  br i1 %over, label %late, label %wait
wait:
  %left = sub i64 %time, %now
  %most = call i64 @llvm.umin.i64(i64 %left, i64 3600000)
  %milliseconds = trunc i64 %most to i32
  call i32 @SleepConditionVariableSRW(ptr %condition, ptr %mutex, i32 %milliseconds, i32 0)
  ret i32 0                                   ; whoever waits looks, and comes back
late:
  ret i32 1
}
define internal void @condition_signal(ptr %condition) {
  call void @WakeConditionVariable(ptr %condition)
  ret void
}
define internal void @condition_broadcast(ptr %condition) {
  call void @WakeAllConditionVariable(ptr %condition)
  ret void
}
define internal void @give_way() {
  call i32 @SwitchToThread()
  ret void
}
define internal i64 @time_after(i64 %nanoseconds) {
  %now = call i64 @GetTickCount64()
  %milliseconds = udiv i64 %nanoseconds, 1000000
  %then = add i64 %now, %milliseconds
  %up = add i64 %then, 1
  ret i64 %up
}
define internal i64 @now() {
  %count.cell = alloca i64
  %frequency.cell = alloca i64
  call i32 @QueryPerformanceCounter(ptr %count.cell)
  call i32 @QueryPerformanceFrequency(ptr %frequency.cell)
  %count = load i64, ptr %count.cell
  %frequency = load i64, ptr %frequency.cell
  %seconds = udiv i64 %count, %frequency
  %rest = urem i64 %count, %frequency
  %whole = mul i64 %seconds, 1000000000
  %scaled = mul i64 %rest, 1000000000         ; below 2^64 for frequencies up to 18 GHz
  %part = udiv i64 %scaled, %frequency
  %now = add i64 %whole, %part
  ret i64 %now
}
