; What the door looks at: facts, what stands in the way of all calls, storage, and arguments (door.ll has the layouts).

%Array = type { i64, ptr, ptr, i32, ptr, ptr, ptr, ptr, i32 }
;               count type data axes lengths strides base dtype flags: as looked at before the door opens

@facts = internal global ptr null
declare i32 @memcmp(ptr, ptr, i64)

define void @loom_door_open(ptr %facts) {
  store ptr %facts, ptr @facts
  ret void
}

define internal ptr @at(ptr %table, i64 %n) alwaysinline {
  %field = getelementptr ptr, ptr %table, i64 %n
  %found = load ptr, ptr %field
  ret ptr %found
}
define internal i64 @word(ptr %table, i64 %n) alwaysinline {
  %field = getelementptr i64, ptr %table, i64 %n
  %found = load i64, ptr %field
  ret i64 %found
}
define internal ptr @fact(i64 %n) alwaysinline {
  %facts = load ptr, ptr @facts
  %found = call ptr @at(ptr %facts, i64 %n)
  ret ptr %found
}
; The object in a slot of another whose place is a fact.
define internal ptr @slot(ptr %object, i64 %n) alwaysinline {
  %place = call ptr @fact(i64 %n)
  %offset = ptrtoint ptr %place to i64
  %field = getelementptr i8, ptr %object, i64 %offset
  %found = load ptr, ptr %field
  ret ptr %found
}
define internal i1 @is_a(ptr %object, i64 %n) alwaysinline {
  %type = call ptr @at(ptr %object, i64 1)
  %wanted = call ptr @fact(i64 %n)
  %same = icmp eq ptr %type, %wanted
  ret i1 %same
}
define internal i1 @is_none(ptr %object) alwaysinline {
  %none = call ptr @fact(i64 4)
  %same = icmp eq ptr %object, %none
  ret i1 %same
}

; An int of 64 bits; false for anything else.
define internal i1 @as_int(ptr %object, ptr %result) {
entry:
  %overflow = alloca i32
  %null = icmp eq ptr %object, null
  br i1 %null, label %no, label %look
look:
  %int = call i1 @is_a(ptr %object, i64 38)
  br i1 %int, label %ask, label %no
ask:
  %function = call ptr @fact(i64 26)
  %value = call i64 %function(ptr %object, ptr %overflow)
  store i64 %value, ptr %result
  %over = load i32, ptr %overflow
  %fits = icmp eq i32 %over, 0
  ret i1 %fits
no:
  ret i1 0
}

; ---- what stands in the way of all calls --------------------------------------------------------------

define internal i1 @empty(ptr %list) {
  %function = call ptr @fact(i64 29)
  %size = call i64 %function(ptr %list)
  %none = icmp eq i64 %size, 0
  ret i1 %none
}

; No debugger or profile, and the environment's settings as they were.
define internal i1 @undisturbed() {
entry:
  %cell = alloca ptr
  %profiles = call ptr @fact(i64 6)
  %unprofiled = call i1 @empty(ptr %profiles)
  br i1 %unprofiled, label %debugger, label %no
debugger:
  store ptr null, ptr %cell
  %variable = call ptr @fact(i64 5)
  %get = call ptr @fact(i64 28)
  %failed = call i32 %get(ptr %variable, ptr null, ptr %cell)
  %error = icmp ne i32 %failed, 0
  br i1 %error, label %clear, label %found
found:
  %debug = load ptr, ptr %cell
  %lacking = icmp eq ptr %debug, null
  br i1 %lacking, label %no, label %drop
drop:
  %decref = call ptr @fact(i64 35)
  call void %decref(ptr %debug)
  %off = call i1 @is_none(ptr %debug)
  br i1 %off, label %settings, label %no
settings:
  %pairs = call ptr @fact(i64 10)
  %count.word = call ptr @fact(i64 9)
  %count = ptrtoint ptr %count.word to i64
  %environment = call ptr @fact(i64 8)
  %look.up = call ptr @fact(i64 31)
  br label %next
next:
  %i = phi i64 [ 0, %settings ], [ %i1, %same ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %compare, label %yes
compare:
  %k = mul i64 %i, 2
  %v = add i64 %k, 1
  %name = call ptr @at(ptr %pairs, i64 %k)
  %expected = call ptr @at(ptr %pairs, i64 %v)
  %now = call ptr %look.up(ptr %environment, ptr %name)
  %equal = icmp eq ptr %now, %expected
  br i1 %equal, label %same, label %clear
same:
  %i1 = add i64 %i, 1
  br label %next
yes:
  ret i1 1
clear:
  %forget = call ptr @fact(i64 32)
  call void %forget()
  br label %no
no:
  ret i1 0
}

; ---- Loom's own storage -----------------------------------------------------------------------------

; Whether a use is none, or one that is over for certain.
define internal i1 @over(ptr %use) {
entry:
  %none = call i1 @is_none(ptr %use)
  br i1 %none, label %yes, label %look
look:
  %known = call i1 @is_a(ptr %use, i64 22)
  br i1 %known, label %fields, label %no
fields:
  %gate = call ptr @slot(ptr %use, i64 23)
  %run = call ptr @slot(ptr %use, i64 24)
  %open = call i1 @is_none(ptr %gate)
  %ended = call i1 @is_none(ptr %run)
  %both = and i1 %open, %ended
  ret i1 %both
yes:
  ret i1 1
no:
  ret i1 0
}

define internal i1 @idle(ptr %uses) {
entry:
  %none = call i1 @is_none(ptr %uses)
  br i1 %none, label %yes, label %look
look:
  %known = call i1 @is_a(ptr %uses, i64 17)
  br i1 %known, label %fields, label %no
fields:
  %merged = call ptr @slot(ptr %uses, i64 21)
  %alone = call i1 @is_none(ptr %merged)
  br i1 %alone, label %writer, label %no
writer:
  %last = call ptr @slot(ptr %uses, i64 18)
  %written = call i1 @over(ptr %last)
  br i1 %written, label %older, label %no
older:
  %before = call ptr @slot(ptr %uses, i64 20)
  %fresh = call i1 @empty(ptr %before)
  br i1 %fresh, label %readers, label %no
readers:
  %list = call ptr @slot(ptr %uses, i64 19)
  %size = call ptr @fact(i64 29)
  %item = call ptr @fact(i64 30)
  %count = call i64 %size(ptr %list)
  br label %next
next:
  %i = phi i64 [ 0, %readers ], [ %i1, %read ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %reader, label %yes
reader:
  %use = call ptr %item(ptr %list, i64 %i)
  %has.read = call i1 @over(ptr %use)
  br i1 %has.read, label %read, label %no
read:
  %i1 = add i64 %i, 1
  br label %next
yes:
  ret i1 1
no:
  ret i1 0
}

; ---- arguments ----------------------------------------------------------------------------------------
; Each tells whether the value is as the signature says. A range is (start, end, written).

; An array of numpy: lengths go to the key, where it is to its range.
define internal i1 @array(ptr %argument, ptr %value, ptr %key, ptr %range) {
entry:
  %dtype.field = getelementptr %Array, ptr %value, i64 0, i32 7
  %dtype = load ptr, ptr %dtype.field
  %dtype.wanted = call ptr @at(ptr %argument, i64 2)
  %dtype.same = icmp eq ptr %dtype, %dtype.wanted
  %flags.field = getelementptr %Array, ptr %value, i64 0, i32 8
  %flags.32 = load i32, ptr %flags.field
  %flags.all = zext i32 %flags.32 to i64
  %flags.wanted = call i64 @word(ptr %argument, i64 3)
  %flags = and i64 %flags.all, %flags.wanted
  %flags.same = icmp eq i64 %flags, %flags.wanted
  %axes.field = getelementptr %Array, ptr %value, i64 0, i32 3
  %axes.32 = load i32, ptr %axes.field
  %axes.now = sext i32 %axes.32 to i64
  %axes = call i64 @word(ptr %argument, i64 4)
  %axes.same = icmp eq i64 %axes.now, %axes
  %a = and i1 %dtype.same, %flags.same
  %b = and i1 %a, %axes.same
  br i1 %b, label %sizes, label %no
sizes:
  %lengths.field = getelementptr %Array, ptr %value, i64 0, i32 4
  %lengths = load ptr, ptr %lengths.field
  %item = call i64 @word(ptr %argument, i64 7)
  br label %next
next:
  %i = phi i64 [ 0, %sizes ], [ %i1, %axis ]
  %bytes = phi i64 [ %item, %sizes ], [ %bytes1, %axis ]
  %more = icmp slt i64 %i, %axes
  br i1 %more, label %axis, label %place
axis:
  %length = call i64 @word(ptr %lengths, i64 %i)
  %cell = getelementptr i64, ptr %key, i64 %i
  store i64 %length, ptr %cell
  %bytes1 = mul i64 %bytes, %length
  %i1 = add i64 %i, 1
  br label %next
place:
  %data.field = getelementptr %Array, ptr %value, i64 0, i32 2
  %data = load i64, ptr %data.field
  %end = add i64 %data, %bytes
  call void @put(ptr %range, i64 %data, i64 %end, ptr %argument)
  %there = icmp ne i64 %data, 0
  br i1 %there, label %bounds, label %no
bounds:
  %alone = call i1 @untracked(i64 %data, i64 %end)
  ret i1 %alone
no:
  ret i1 0
}

; Whether no program is bound to memory of the caller there: the bounds are in order, every second one an end.
define internal i1 @untracked(i64 %start, i64 %end) {
entry:
  %cell = alloca i64
  %bounds = call ptr @fact(i64 7)
  %size.of = call ptr @fact(i64 29)
  %item.of = call ptr @fact(i64 30)
  %size = call i64 %size.of(ptr %bounds)
  br label %search
search:                                       ; how many are at most the start
  %low = phi i64 [ 0, %entry ], [ %low1, %half ]
  %high = phi i64 [ %size, %entry ], [ %high1, %half ]
  %open = icmp slt i64 %low, %high
  br i1 %open, label %look, label %settled
look:
  %sum = add i64 %low, %high
  %middle = lshr i64 %sum, 1
  %object = call ptr %item.of(ptr %bounds, i64 %middle)
  %is.int = call i1 @as_int(ptr %object, ptr %cell)
  br i1 %is.int, label %half, label %no
half:
  %bound = load i64, ptr %cell
  %behind = icmp ugt i64 %bound, %start
  %after = add i64 %middle, 1
  %low1 = select i1 %behind, i64 %low, i64 %after
  %high1 = select i1 %behind, i64 %middle, i64 %high
  br label %search
settled:
  %odd = and i64 %low, 1
  %inside = icmp ne i64 %odd, 0
  br i1 %inside, label %no, label %next
next:
  %last = icmp sge i64 %low, %size
  br i1 %last, label %yes, label %compare
compare:
  %following = call ptr %item.of(ptr %bounds, i64 %low)
  %is.number = call i1 @as_int(ptr %following, ptr %cell)
  br i1 %is.number, label %reach, label %no
reach:
  %begins = load i64, ptr %cell
  %beyond = icmp uge i64 %begins, %end
  ret i1 %beyond
yes:
  ret i1 1
no:
  ret i1 0
}

define internal void @put(ptr %range, i64 %start, i64 %end, ptr %argument) alwaysinline {
  %end.cell = getelementptr i64, ptr %range, i64 1
  %written.cell = getelementptr i64, ptr %range, i64 2
  %written = call i64 @word(ptr %argument, i64 5)
  store i64 %start, ptr %range
  store i64 %end, ptr %end.cell
  store i64 %written, ptr %written.cell
  ret void
}

; An array of Loom's, whose slots are as they must be for its memory to be used as it is.
define internal i1 @own(ptr %argument, ptr %value, ptr %key, ptr %range) {
entry:
  %start.cell = alloca i64
  %size.cell = alloca i64
  %conditions = call ptr @at(ptr %argument, i64 2)
  %count = call i64 @word(ptr %argument, i64 3)
  %good = call i1 @holds(ptr %conditions, i64 %count, ptr %value)
  br i1 %good, label %storage, label %no
storage:
  %data.place = call i64 @word(ptr %argument, i64 8)
  %data.field = getelementptr i8, ptr %value, i64 %data.place
  %data = load ptr, ptr %data.field
  %lacking = icmp eq ptr %data, null
  br i1 %lacking, label %no, label %kind
kind:
  %host = call i1 @is_a(ptr %data, i64 13)
  br i1 %host, label %where, label %no
where:
  %address = call ptr @slot(ptr %data, i64 14)
  %known = call i1 @as_int(ptr %address, ptr %start.cell)
  br i1 %known, label %size, label %no
size:
  %nbytes = call ptr @slot(ptr %data, i64 15)
  %sized = call i1 @as_int(ptr %nbytes, ptr %size.cell)
  br i1 %sized, label %uses, label %no
uses:
  %use = call ptr @slot(ptr %data, i64 16)
  %idle = call i1 @idle(ptr %use)
  br i1 %idle, label %shape, label %no
shape:
  %start = load i64, ptr %start.cell
  %bytes = load i64, ptr %size.cell
  %end = add i64 %start, %bytes
  call void @put(ptr %range, i64 %start, i64 %end, ptr %argument)
  %shape.place = call i64 @word(ptr %argument, i64 9)
  %shape.field = getelementptr i8, ptr %value, i64 %shape.place
  %tuple = load ptr, ptr %shape.field
  %want = call i64 @word(ptr %argument, i64 4)
  %known.shape = call i1 @lengths(ptr %tuple, i64 %want, ptr %key)
  ret i1 %known.shape
no:
  ret i1 0
}

; The lengths that a tuple tells, of so many axes; false of anything else.
define internal i1 @lengths(ptr %tuple, i64 %want, ptr %key) {
entry:
  %none = icmp eq ptr %tuple, null
  br i1 %none, label %no, label %tuple.kind
tuple.kind:
  %is.tuple = call i1 @is_a(ptr %tuple, i64 39)
  br i1 %is.tuple, label %axes, label %no
axes:
  %length.of = call ptr @fact(i64 36)
  %item.of = call ptr @fact(i64 37)
  %have = call i64 %length.of(ptr %tuple)
  %fits = icmp eq i64 %have, %want
  br i1 %fits, label %axis, label %no
axis:
  %k = phi i64 [ 0, %axes ], [ %k1, %stored ]
  %left = icmp slt i64 %k, %want
  br i1 %left, label %length, label %yes
length:
  %item = call ptr %item.of(ptr %tuple, i64 %k)
  %cell = getelementptr i64, ptr %key, i64 %k
  %is.int = call i1 @as_int(ptr %item, ptr %cell)
  br i1 %is.int, label %stored, label %no
stored:
  %k1 = add i64 %k, 1
  br label %axis
yes:
  ret i1 1
no:
  ret i1 0
}

; A number, as the word that the kernel takes. NaN is left to Python, which says what its bits become.
define internal i1 @number(ptr %argument, i64 %kind, ptr %value, ptr %result) {
entry:
  %int.cell = alloca i64
  %scalar = getelementptr i8, ptr %value, i64 16
  switch i64 %kind, label %no [
    i64 3, label %float i64 4, label %int i64 5, label %bool i64 6, label %single
    i64 7, label %i8 i64 8, label %i16 i64 9, label %i32 i64 10, label %i64
    i64 11, label %u8 i64 12, label %u16 i64 13, label %u32
  ]
float:
  %as.double = call ptr @fact(i64 27)
  %float.value = call double %as.double(ptr %value)
  br label %real
single:
  %single.value = load float, ptr %scalar
  %single.wide = fpext float %single.value to double
  br label %real
int:
  %fits = call i1 @as_int(ptr %value, ptr %int.cell)
  %int.value = load i64, ptr %int.cell
  br i1 %fits, label %whole, label %no
bool:
  %true = call ptr @fact(i64 11)
  %false = call ptr @fact(i64 12)
  %is.true = icmp eq ptr %value, %true
  %is.false = icmp eq ptr %value, %false
  %bool.value = zext i1 %is.true to i64
  %is.bool = or i1 %is.true, %is.false
  br i1 %is.bool, label %whole, label %no
i8:
  %i8.value = load i8, ptr %scalar
  %i8.wide = sext i8 %i8.value to i64
  br label %whole
i16:
  %i16.value = load i16, ptr %scalar
  %i16.wide = sext i16 %i16.value to i64
  br label %whole
i32:
  %i32.value = load i32, ptr %scalar
  %i32.wide = sext i32 %i32.value to i64
  br label %whole
i64:
  %i64.value = load i64, ptr %scalar
  br label %whole
u8:
  %u8.value = load i8, ptr %scalar
  %u8.wide = zext i8 %u8.value to i64
  br label %whole
u16:
  %u16.value = load i16, ptr %scalar
  %u16.wide = zext i16 %u16.value to i64
  br label %whole
u32:
  %u32.value = load i32, ptr %scalar
  %u32.wide = zext i32 %u32.value to i64
  br label %whole
whole:
  %n = phi i64 [ %int.value, %int ], [ %bool.value, %bool ], [ %i8.wide, %i8 ], [ %i16.wide, %i16 ],
               [ %i32.wide, %i32 ], [ %i64.value, %i64 ], [ %u8.wide, %u8 ], [ %u16.wide, %u16 ], [ %u32.wide, %u32 ]
  %least = call i64 @word(ptr %argument, i64 3)
  %most = call i64 @word(ptr %argument, i64 4)
  %above = icmp sge i64 %n, %least
  %below = icmp sle i64 %n, %most
  %inside = and i1 %above, %below
  br i1 %inside, label %becomes, label %no
becomes:
  %form = call i64 @word(ptr %argument, i64 2)
  %is.whole = icmp eq i64 %form, 0
  br i1 %is.whole, label %mask, label %convert
mask:
  %bits = call i64 @word(ptr %argument, i64 7)
  %masked = and i64 %n, %bits
  br label %done
convert:                                      ; exact: the limits see to it
  %converted = sitofp i64 %n to double
  br label %real
real:
  %x = phi double [ %float.value, %float ], [ %single.wide, %single ], [ %converted, %convert ]
  %ordered = fcmp ord double %x, 0.0
  br i1 %ordered, label %width, label %no
width:
  %form.real = call i64 @word(ptr %argument, i64 2)
  %is.double = icmp eq i64 %form.real, 2
  br i1 %is.double, label %double, label %narrow
double:
  %double.bits = bitcast double %x to i64
  br label %done
narrow:                                       ; what was finite must stay so
  %f = fptrunc double %x to float
  %f.bits = bitcast float %f to i32
  %f.size = and i32 %f.bits, 2147483647
  %f.infinite = icmp eq i32 %f.size, 2139095040
  %x.bits = bitcast double %x to i64
  %x.size = and i64 %x.bits, 9223372036854775807
  %x.infinite = icmp eq i64 %x.size, 9218868437227405312
  %kept = icmp eq i1 %f.infinite, %x.infinite
  %f.word = zext i32 %f.bits to i64
  br i1 %kept, label %done, label %no
done:
  %word = phi i64 [ %masked, %mask ], [ %double.bits, %double ], [ %f.word, %narrow ]
  store i64 %word, ptr %result
  ret i1 1
no:
  ret i1 0
}
