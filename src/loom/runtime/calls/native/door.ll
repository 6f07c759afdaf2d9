; The door: `kernel(x, y, a=2.0)` from CPython to the code of a kernel, for calls like one that was made before.
;
; CPython calls @loom_door as a method of KernelFunction. It finds the kernel's table, compares the arguments with each
; signature of it, and the lengths and deciding numbers with its entries; of an entry all is proved that was proved of
; the call it was made of. Where anything differs it calls the Python function that does everything, with the same
; arguments. No code of Python's runs between the first look and the return, and the interpreter's lock is held: nothing
; that was looked at changes, and each entry has one set of bindings for all threads.
;
; What it is told (calltables.py lays it out; every field is a word of 8 bytes):
;   facts      0 open  1 generation  2 slow  3 name of the attribute  4 None  5 the debugger's variable  6 open profiles
;              7 bounds of tracked memory  8 environment  9, 10 its (name, value) pairs: count and place  11 True  12 False
;              13 HostStorage: type, places of 14 _address 15 nbytes 16 uses   17 Uses: type, places of 18 writer
;              19 readers 20 older 21 merged   22 Use: type, places of 23 _gate 24 _run
;              25 GetAttr 26 AsLongLongAndOverflow 27 AsDouble 28 ContextVar_Get 29 List_Size 30 List_GetItem
;              31 Dict_GetItemWithError 32 Err_Clear 33 Vectorcall 34 IncRef 35 DecRef 36 Tuple_Size 37 Tuple_GetItem
;              38 type of int  39 type of tuple  40 an empty log  41 Mem_Malloc  42 Mem_Free  43 Err_NoMemory
;              46 a log  47 reports what it says, given sites and a copy  48 Bytes_FromStringAndSize
;              44 type of what a kernel knows its table by  45 the place of the slot with its address
;   table      0 generation  1 first signature  2 number of parameters  3 their names
;   signature  0 next  1 arguments  2 mask of the buckets  3 buckets  4 number of buffers  5 their rows of the bindings
;   argument   0 kind  1 type  2..9 by kind:
;              array:  2 dtype  3 flags  4 axes  5 written  6 binding  7 bytes of an element
;              Loom's: 2 conditions  3 their number  4..7 as above  8, 9 places of storage and shape
;              number: 2 becomes (0 whole, 1 f32, 2 f64)  3 least  4 most  5 decides  6 parameter  7 mask of its bits
;   condition  0 place  1 object  2 whether it is to be that one, or not to be
;   entry      0 next  1 hash  2 kernel  3 record  4 groups  5 bindings  6 parameters  7 sites, if the kernel tells anything
;              8.. words of the key

; ---- a call -------------------------------------------------------------------------------------------

; Compare the arguments with a signature; the key, the ranges and the words of numbers are filled. Returns the words of
; the key, -1 if something differs.
define internal i64 @match(ptr %signature, i64 %count, ptr %values, ptr %key, ptr %ranges, ptr %words) {
entry:
  %arguments = call ptr @at(ptr %signature, i64 1)
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %good ]
  %filled = phi i64 [ 0, %entry ], [ %filled1, %good ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %look, label %yes
look:
  %offset = mul i64 %i, 10
  %argument = getelementptr i64, ptr %arguments, i64 %offset
  %value = call ptr @at(ptr %values, i64 %i)
  %kind = call i64 @word(ptr %argument, i64 0)
  %absent = icmp eq ptr %value, null
  br i1 %absent, label %lacking, label %given
lacking:
  %none = icmp eq i64 %kind, 0
  br i1 %none, label %good, label %no
given:
  %type = call ptr @at(ptr %value, i64 1)
  %type.wanted = call ptr @at(ptr %argument, i64 1)
  %type.same = icmp eq ptr %type, %type.wanted
  br i1 %type.same, label %kinds, label %no
kinds:
  %index = call i64 @word(ptr %argument, i64 6)
  %here = getelementptr i64, ptr %key, i64 %filled
  %is.array = icmp ule i64 %kind, 2
  br i1 %is.array, label %buffer, label %scalar
buffer:
  %place = mul i64 %index, 3
  %range = getelementptr i64, ptr %ranges, i64 %place
  %axes = call i64 @word(ptr %argument, i64 4)
  %after = add i64 %filled, %axes
  %numpys = icmp eq i64 %kind, 1
  br i1 %numpys, label %array, label %own
array:
  %array.good = call i1 @array(ptr %argument, ptr %value, ptr %here, ptr %range)
  br i1 %array.good, label %good, label %no
own:
  %own.good = call i1 @own(ptr %argument, ptr %value, ptr %here, ptr %range)
  br i1 %own.good, label %good, label %no
scalar:
  %cell = getelementptr i64, ptr %words, i64 %index
  %number.good = call i1 @number(ptr %argument, i64 %kind, ptr %value, ptr %cell)
  br i1 %number.good, label %deciding, label %no
deciding:
  %decides = call i64 @word(ptr %argument, i64 5)
  %number = load i64, ptr %cell
  store i64 %number, ptr %here
  %counted = add i64 %filled, %decides
  br label %good
good:
  %filled1 = phi i64 [ %filled, %lacking ], [ %after, %array ], [ %after, %own ], [ %counted, %deciding ]
  %i1 = add i64 %i, 1
  br label %next
yes:
  ret i64 %filled
no:
  ret i64 -1
}

; The entry of a key, null if there is none.
define internal ptr @find(ptr %signature, ptr %key, i64 %length) {
entry:
  br label %mix
mix:
  %i = phi i64 [ 0, %entry ], [ %i1, %step ]
  %hash = phi i64 [ -3750763034362895579, %entry ], [ %hash1, %step ]
  %more = icmp ult i64 %i, %length
  br i1 %more, label %step, label %mixed
step:
  %word = call i64 @word(ptr %key, i64 %i)
  %crossed = xor i64 %hash, %word
  %hash1 = mul i64 %crossed, 1099511628211
  %i1 = add i64 %i, 1
  br label %mix
mixed:
  %mask = call i64 @word(ptr %signature, i64 2)
  %buckets = call ptr @at(ptr %signature, i64 3)
  %high = lshr i64 %hash, 32
  %folded = xor i64 %hash, %high
  %bucket = and i64 %folded, %mask
  %first = call ptr @at(ptr %buckets, i64 %bucket)
  %bytes = mul i64 %length, 8
  br label %search
search:
  %entry.now = phi ptr [ %first, %mixed ], [ %following, %other ]
  %end = icmp eq ptr %entry.now, null
  br i1 %end, label %none, label %compare
compare:
  %following = call ptr @at(ptr %entry.now, i64 0)
  %their.hash = call i64 @word(ptr %entry.now, i64 1)
  %alike = icmp eq i64 %their.hash, %hash
  br i1 %alike, label %words, label %other
words:
  %their.key = getelementptr i64, ptr %entry.now, i64 8
  %difference = call i32 @memcmp(ptr %their.key, ptr %key, i64 %bytes)
  %same = icmp eq i32 %difference, 0
  br i1 %same, label %found, label %other
other:
  br label %search
found:
  ret ptr %entry.now
none:
  ret ptr null
}

; Whether no two of the ranges share memory of which one is written.
define internal i1 @apart(ptr %ranges, i64 %count) {
entry:
  br label %outer
outer:
  %i = phi i64 [ 0, %entry ], [ %i1, %inner.done ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %row, label %yes
row:
  %i.place = mul i64 %i, 3
  %first = getelementptr i64, ptr %ranges, i64 %i.place
  %start = call i64 @word(ptr %first, i64 0)
  %end = call i64 @word(ptr %first, i64 1)
  %written = call i64 @word(ptr %first, i64 2)
  br label %inner
inner:
  %j = phi i64 [ 0, %row ], [ %j1, %clear ]
  %left = icmp ult i64 %j, %i
  br i1 %left, label %pair, label %inner.done
pair:
  %j.place = mul i64 %j, 3
  %second = getelementptr i64, ptr %ranges, i64 %j.place
  %start2 = call i64 @word(ptr %second, i64 0)
  %end2 = call i64 @word(ptr %second, i64 1)
  %written2 = call i64 @word(ptr %second, i64 2)
  %any = or i64 %written, %written2
  %matters = icmp ne i64 %any, 0
  %before = icmp ult i64 %start, %end2
  %behind = icmp ult i64 %start2, %end
  %meets = and i1 %before, %behind
  %clash = and i1 %meets, %matters
  br i1 %clash, label %no, label %clear
clear:
  %j1 = add i64 %j, 1
  br label %inner
inner.done:
  %i1 = add i64 %i, 1
  br label %outer
yes:
  ret i1 1
no:
  ret i1 0
}

; Put arguments by position and name in the order of the parameters; false for a name that is none, or given twice.
define internal i1 @arrange(ptr %table, ptr %args, i64 %given, ptr %names, ptr %values) {
entry:
  %count = call i64 @word(ptr %table, i64 2)
  %parameters = call ptr @at(ptr %table, i64 3)
  %fits = icmp ule i64 %given, %count
  br i1 %fits, label %place, label %no
place:
  %i = phi i64 [ 0, %entry ], [ %i1, %placed ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %put, label %named
put:
  %cell = getelementptr ptr, ptr %values, i64 %i
  %positional = icmp ult i64 %i, %given
  br i1 %positional, label %take, label %leave
take:
  %arg = call ptr @at(ptr %args, i64 %i)
  store ptr %arg, ptr %cell
  br label %placed
leave:
  store ptr null, ptr %cell
  br label %placed
placed:
  %i1 = add i64 %i, 1
  br label %place
named:
  %nameless = icmp eq ptr %names, null
  br i1 %nameless, label %yes, label %ask
ask:
  %size.of = call ptr @fact(i64 36)
  %item.of = call ptr @fact(i64 37)
  %size = call i64 %size.of(ptr %names)
  br label %next
next:
  %k = phi i64 [ 0, %ask ], [ %k1, %settled ]
  %some = icmp slt i64 %k, %size
  br i1 %some, label %name, label %yes
name:
  %called = call ptr %item.of(ptr %names, i64 %k)
  br label %seek
seek:
  %p = phi i64 [ %given, %name ], [ %p1, %miss ]
  %in.range = icmp ult i64 %p, %count
  br i1 %in.range, label %check, label %no
check:
  %parameter = call ptr @at(ptr %parameters, i64 %p)
  %hit = icmp eq ptr %parameter, %called
  br i1 %hit, label %store, label %miss
miss:
  %p1 = add i64 %p, 1
  br label %seek
store:
  %target = getelementptr ptr, ptr %values, i64 %p
  %old = load ptr, ptr %target
  %vacant = icmp eq ptr %old, null
  br i1 %vacant, label %settle, label %no
settle:
  %source = add i64 %given, %k
  %value = call ptr @at(ptr %args, i64 %source)
  store ptr %value, ptr %target
  br label %settled
settled:
  %k1 = add i64 %k, 1
  br label %next
yes:
  ret i1 1
no:
  ret i1 0
}

; Serve a call; false, nothing being done, if Python is to. Of a kernel that told something its sites, and a copy of the
; log (null: no memory), go where they are told.
define internal i1 @serve(ptr %self, ptr %args, i64 %given, ptr %names, ptr %told) {
entry:
  %place = alloca i64
  %open = call ptr @fact(i64 0)
  %shut = icmp eq ptr %open, null
  br i1 %shut, label %no, label %ask
ask:
  %get = call ptr @fact(i64 25)
  %name = call ptr @fact(i64 3)
  %known = call ptr %get(ptr %self, ptr %name)
  %lacking = icmp eq ptr %known, null
  br i1 %lacking, label %clear, label %kind
clear:
  %forget = call ptr @fact(i64 32)
  call void %forget()
  br label %no
kind:
  %right = call i1 @is_a(ptr %known, i64 44)
  br i1 %right, label %address, label %leave
address:
  %number = call ptr @slot(ptr %known, i64 45)
  %is.address = call i1 @as_int(ptr %number, ptr %place)
  br i1 %is.address, label %serve, label %leave
serve:
  %where = load i64, ptr %place
  %table = inttoptr i64 %where to ptr
  %served = call i1 @serve_known(ptr %table, ptr %args, i64 %given, ptr %names, ptr %told)
  br label %leave
leave:
  %result = phi i1 [ false, %kind ], [ false, %address ], [ %served, %serve ]
  %decref = call ptr @fact(i64 35)
  call void %decref(ptr %known)
  ret i1 %result
no:
  ret i1 0
}

; Do the same with a kernel's table.
define internal i1 @serve_known(ptr %table, ptr %args, i64 %given, ptr %names, ptr %told) {
entry:
  %values = alloca [16 x ptr]
  %key = alloca [80 x i64]
  %ranges = alloca [48 x i64]
  %words = alloca [16 x i64]
  %now = call ptr @fact(i64 1)
  %made = call ptr @at(ptr %table, i64 0)
  %current = icmp eq ptr %now, %made
  br i1 %current, label %modes, label %no
modes:
  %calm = call i1 @undisturbed()
  br i1 %calm, label %order, label %no
order:
  %arranged = call i1 @arrange(ptr %table, ptr %args, i64 %given, ptr %names, ptr %values)
  br i1 %arranged, label %begin, label %no
begin:
  %count = call i64 @word(ptr %table, i64 2)
  %first = call ptr @at(ptr %table, i64 1)
  br label %try
try:
  %signature = phi ptr [ %first, %begin ], [ %following, %differs ]
  %end = icmp eq ptr %signature, null
  br i1 %end, label %no, label %match
match:
  %following = call ptr @at(ptr %signature, i64 0)
  %length = call i64 @match(ptr %signature, i64 %count, ptr %values, ptr %key, ptr %ranges, ptr %words)
  %fits = icmp sge i64 %length, 0
  br i1 %fits, label %find, label %differs
differs:
  br label %try
find:
  %entry.found = call ptr @find(ptr %signature, ptr %key, i64 %length)
  %unknown = icmp eq ptr %entry.found, null
  br i1 %unknown, label %no, label %overlaps
overlaps:
  %buffers = call i64 @word(ptr %signature, i64 4)
  %apart = call i1 @apart(ptr %ranges, i64 %buffers)
  br i1 %apart, label %fill, label %no
fill:                                         ; nothing is left that could send the call elsewhere
  %bindings = call ptr @at(ptr %entry.found, i64 5)
  br label %bind
bind:
  %b = phi i64 [ 0, %fill ], [ %b1, %bound ]
  %unbound = icmp ult i64 %b, %buffers
  br i1 %unbound, label %bound, label %numbers
bound:
  %range.place = mul i64 %b, 3
  %range = getelementptr i64, ptr %ranges, i64 %range.place
  %start = load i64, ptr %range
  %places = call ptr @at(ptr %signature, i64 5)
  %row = call i64 @word(ptr %places, i64 %b)
  %binding.place = mul i64 %row, 2
  %binding = getelementptr i64, ptr %bindings, i64 %binding.place
  store i64 %start, ptr %binding
  %b1 = add i64 %b, 1
  br label %bind
numbers:
  %parameters = call ptr @at(ptr %entry.found, i64 6)
  %arguments = call ptr @at(ptr %signature, i64 1)
  br label %pass
pass:
  %n = phi i64 [ 0, %numbers ], [ %n1, %passed ]
  %unpassed = icmp ult i64 %n, %count
  br i1 %unpassed, label %kind, label %run
kind:
  %offset = mul i64 %n, 10
  %argument = getelementptr i64, ptr %arguments, i64 %offset
  %its.kind = call i64 @word(ptr %argument, i64 0)
  %is.number = icmp ugt i64 %its.kind, 2
  br i1 %is.number, label %store, label %passed
store:
  %index = call i64 @word(ptr %argument, i64 6)
  %source = getelementptr i64, ptr %words, i64 %index
  %word = load i64, ptr %source
  %target = getelementptr i64, ptr %parameters, i64 %index
  store i64 %word, ptr %target
  br label %passed
passed:
  %n1 = add i64 %n, 1
  br label %pass
run:
  %kernel = call ptr @at(ptr %entry.found, i64 2)
  %record = call ptr @at(ptr %entry.found, i64 3)
  %groups = call i64 @word(ptr %entry.found, i64 4)
  %sites = call ptr @at(ptr %entry.found, i64 7)
  %silent = icmp eq ptr %sites, null
  %log.number = select i1 %silent, i64 40, i64 46
  %log = call ptr @fact(i64 %log.number)
  call void %kernel(ptr %record, ptr %log, i64 0, i64 %groups)
  br i1 %silent, label %served, label %listen
listen:
  %claimed = call i64 @word(ptr %log, i64 1)
  %faulty = call i64 @word(ptr %log, i64 2)
  %any = or i64 %claimed, %faulty
  %quiet = icmp eq i64 %any, 0
  br i1 %quiet, label %served, label %take
take:                                         ; a copy, before another call writes there
  %capacity = call i64 @word(ptr %log, i64 0)
  %full = icmp ult i64 %capacity, %claimed
  %used = select i1 %full, i64 %capacity, i64 %claimed
  %log.words = add i64 %used, 4
  %log.bytes = mul i64 %log.words, 8
  %bytes.of = call ptr @fact(i64 48)
  %copy = call ptr %bytes.of(ptr %log, i64 %log.bytes)
  %claimed.field = getelementptr i64, ptr %log, i64 1
  %faulty.field = getelementptr i64, ptr %log, i64 2
  store i64 0, ptr %claimed.field
  store i64 0, ptr %faulty.field
  %incref = call ptr @fact(i64 34)
  call void %incref(ptr %sites)
  %copy.field = getelementptr ptr, ptr %told, i64 1
  store ptr %sites, ptr %told
  store ptr %copy, ptr %copy.field
  ret i1 1
served:
  ret i1 1
no:
  ret i1 0
}

; METH_FASTCALL | METH_KEYWORDS
define ptr @loom_door(ptr %self, ptr %args, i64 %given, ptr %names) {
entry:
  %few.stack = alloca [65 x ptr]
  %told = alloca [2 x ptr]
  store ptr null, ptr %told
  %environment = call i64 @fp_enter()
  %served = call i1 @serve(ptr %self, ptr %args, i64 %given, ptr %names, ptr %told)
  call void @fp_leave(i64 %environment)
  br i1 %served, label %listen, label %python
listen:
  %sites = load ptr, ptr %told
  %silent = icmp eq ptr %sites, null
  br i1 %silent, label %return, label %tell
tell:
  %decref = call ptr @fact(i64 35)
  %copy.field = getelementptr ptr, ptr %told, i64 1
  %copy.found = load ptr, ptr %copy.field
  %no.copy = icmp eq ptr %copy.found, null
  br i1 %no.copy, label %drop, label %report
report:
  %report.call = call ptr @fact(i64 33)
  %reporter = call ptr @fact(i64 47)
  %reported = call ptr %report.call(ptr %reporter, ptr %told, i64 2, ptr null)
  call void %decref(ptr %copy.found)
  br label %drop
drop:                                         ; without a copy there is an error already
  %answer = phi ptr [ null, %tell ], [ %reported, %report ]
  call void %decref(ptr %sites)
  ret ptr %answer
return:
  %incref = call ptr @fact(i64 34)
  %none = call ptr @fact(i64 4)
  call void %incref(ptr %none)
  ret ptr %none
python:                                       ; the same arguments behind the kernel itself
  %nameless = icmp eq ptr %names, null
  br i1 %nameless, label %copy, label %ask
ask:
  %size.of = call ptr @fact(i64 36)
  %named = call i64 %size.of(ptr %names)
  br label %copy
copy:
  %extra = phi i64 [ 0, %python ], [ %named, %ask ]
  %all = add i64 %given, %extra
  %behind = add i64 %given, 1
  %few = icmp ule i64 %all, 64
  br i1 %few, label %fill, label %allocate
allocate:
  %room = add i64 %all, 1
  %bytes = mul i64 %room, 8
  %malloc = call ptr @fact(i64 41)
  %block = call ptr %malloc(i64 %bytes)
  %lacking = icmp eq ptr %block, null
  br i1 %lacking, label %memory, label %fill
memory:
  %error = call ptr @fact(i64 43)
  %null = call ptr %error()
  ret ptr %null
fill:
  %stack = phi ptr [ %few.stack, %copy ], [ %block, %allocate ]
  store ptr %self, ptr %stack
  br label %next
next:
  %i = phi i64 [ 0, %fill ], [ %i1, %step ]
  %more = icmp ult i64 %i, %all
  br i1 %more, label %step, label %call
step:
  %value = call ptr @at(ptr %args, i64 %i)
  %i1 = add i64 %i, 1
  %cell = getelementptr ptr, ptr %stack, i64 %i1
  store ptr %value, ptr %cell
  br label %next
call:
  %vectorcall = call ptr @fact(i64 33)
  %slow = call ptr @fact(i64 2)
  %found = call ptr %vectorcall(ptr %slow, ptr %stack, i64 %behind, ptr %names)
  br i1 %few, label %out, label %free
free:
  %release = call ptr @fact(i64 42)
  call void %release(ptr %stack)
  br label %out
out:
  ret ptr %found
}
