; The door: `kernel(x, y, a=2.0)` and `gpu_sum(x)` from CPython to the code of kernels, for calls like one that was made
; before.
;
; CPython calls @loom_door as a method of KernelFunction, and @loom_function in place of a function of Python's. They find
; the table of what is called, compare the arguments with each signature of it, and the lengths and deciding numbers with
; its entries; of an entry all is proved that was proved of the call it was made of. Where anything differs they call the
; Python function that does everything, with the same arguments. No code of Python's runs between the first look and the
; last kernel's return, and the interpreter's lock is held: nothing that was looked at changes, and each entry has one
; set of bindings for all threads. Results are new arrays of numpy; what is done with them afterwards may be Python's.
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
;              49 Object_GetItem  50 an empty tuple  51 Object_Size
;   table      0 generation  1 first signature  2 number of parameters  3 their names  4 slow, of a function
;              5, 6 context variables, each with what it is to have: count and place
;   signature  0 next  1 arguments  2 mask of the buckets  3 buckets  4 number of buffers
;   argument   0 kind  1 type  2..9 by kind:
;              array:  2 dtype  3 flags  4 axes  5 written  6 binding  7 bytes of an element
;              Loom's: 2 conditions  3 their number  4..7 as above  8, 9 places of storage and shape
;              number: 2 becomes (0 whole, 1 f32, 2 f64)  3 least  4 most  5 decides  6 parameter  7 mask of its bits
;              option: 2 the object that it is (kind 14); of an int (15) and a float (16) the key tells
;              recorded tensor (17): 2 its node
;   node       places of slots: 0 op 1 inputs 2 attributes 3 shape 4 dtype 5 data  6 the op of other shapes  7, 8 conditions
;              9 op  10 dtype  11, 12 attributes: number and place  13, 14 arguments that inputs are  15 axes
;   condition  0 place  1 object  2 whether it is to be that one, or not to be
;   entry      0 next  1 hash  2, 3 steps: place and count  4, 5 cells of addresses  6, 7 cells of numbers
;              8 sites, if a kernel tells anything  9, 10 results  11 what finishes them, if anything  12, 13 what must be
;              empty  14.. words of the key
;   step       0 kernel  1 record  2 groups, all that there are
;   cell       0 which range, or which number  1 where it goes
;   result     0 range  1, 2 shape and dtype  3 what makes it of them  4 how it is given: 0 as it is, 1 as a number, 2 as
;              memory that begins at a multiple of 64, behind the first argument of the call
;   answer     0 sites  1 copy of the log  2 number of results  3 what finishes them  4 how, or that argument  5.. results

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
  br i1 %is.array, label %buffer, label %other
other:
  switch i64 %kind, label %scalar [ i64 14, label %object i64 15, label %integer i64 16, label %real
    i64 17, label %node ]
object:
  %object.wanted = call ptr @at(ptr %argument, i64 2)
  %object.same = icmp eq ptr %value, %object.wanted
  br i1 %object.same, label %good, label %no
integer:
  %whole = call i1 @as_int(ptr %value, ptr %here)
  br i1 %whole, label %told, label %no
real:
  %as.double = call ptr @fact(i64 27)
  %real.value = call double %as.double(ptr %value)
  store double %real.value, ptr %here
  br label %told
node:
  %node.words = call i64 @node(ptr %argument, ptr %value, ptr %here, ptr %ranges)
  %node.good = icmp sge i64 %node.words, 0
  %filled.node = add i64 %filled, %node.words
  br i1 %node.good, label %good, label %no
told:
  %filled.told = add i64 %filled, 1
  br label %good
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
  %filled1 = phi i64 [ %filled, %lacking ], [ %after, %array ], [ %after, %own ], [ %counted, %deciding ],
                     [ %filled, %object ], [ %filled.told, %told ], [ %filled.node, %node ]
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
  %their.key = getelementptr i64, ptr %entry.now, i64 14
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

; Whether context variables have what they are to have.
define internal i1 @context(ptr %table) {
entry:
  %cell = alloca ptr
  %count = call i64 @word(ptr %table, i64 5)
  %pairs = call ptr @at(ptr %table, i64 6)
  %get = call ptr @fact(i64 28)
  %decref = call ptr @fact(i64 35)
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %compare ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %ask, label %yes
ask:
  %k = mul i64 %i, 2
  %v = add i64 %k, 1
  %variable = call ptr @at(ptr %pairs, i64 %k)
  %expected = call ptr @at(ptr %pairs, i64 %v)
  store ptr null, ptr %cell
  %failed = call i32 %get(ptr %variable, ptr null, ptr %cell)
  %error = icmp ne i32 %failed, 0
  br i1 %error, label %clear, label %look
look:
  %now = load ptr, ptr %cell
  %lacking = icmp eq ptr %now, null
  br i1 %lacking, label %no, label %drop
drop:
  call void %decref(ptr %now)
  %equal = icmp eq ptr %now, %expected
  br i1 %equal, label %compare, label %no
compare:
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

; Whether all of an entry's containers that must be empty are: what they hold has to be told first.
define internal i1 @quiet(ptr %entry.found) {
entry:
  %list = call ptr @at(ptr %entry.found, i64 12)
  %count = call i64 @word(ptr %entry.found, i64 13)
  %size.of = call ptr @fact(i64 51)
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %look ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %look, label %yes
look:
  %i1 = add i64 %i, 1
  %container = call ptr @at(ptr %list, i64 %i)
  %size = call i64 %size.of(ptr %container)
  %empty = icmp eq i64 %size, 0
  br i1 %empty, label %next, label %no
yes:
  ret i1 1
no:
  ret i1 0
}

; Make the results of an entry, whose addresses go to their ranges; false, and there are none, if there is no memory.
define internal i1 @make_results(ptr %entry.found, ptr %ranges, ptr %answer) {
entry:
  %rows = call ptr @at(ptr %entry.found, i64 9)
  %count = call i64 @word(ptr %entry.found, i64 10)
  %finish = call ptr @at(ptr %entry.found, i64 11)
  %finish.field = getelementptr ptr, ptr %answer, i64 3
  store ptr %finish, ptr %finish.field
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %made ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %make, label %yes
make:
  %offset = mul i64 %i, 5
  %row = getelementptr i64, ptr %rows, i64 %offset
  %shape = getelementptr i64, ptr %row, i64 1
  %maker = call ptr @at(ptr %row, i64 3)
  %call = call ptr @fact(i64 33)
  %array = call ptr %call(ptr %maker, ptr %shape, i64 2, ptr null)
  %lacking = icmp eq ptr %array, null
  br i1 %lacking, label %drop, label %made
made:
  %number = call i64 @word(ptr %row, i64 0)
  %place = mul i64 %number, 3
  %range = getelementptr i64, ptr %ranges, i64 %place
  %data.field = getelementptr %Array, ptr %array, i64 0, i32 2
  %data = load i64, ptr %data.field
  %scalar = call i64 @word(ptr %row, i64 4)
  %aligned = icmp eq i64 %scalar, 2
  %beyond = add i64 %data, 63
  %begin = and i64 %beyond, -64
  %start = select i1 %aligned, i64 %begin, i64 %data
  store i64 %start, ptr %range
  %at = add i64 %i, 5
  %target = getelementptr ptr, ptr %answer, i64 %at
  store ptr %array, ptr %target
  %scalar.field = getelementptr i64, ptr %answer, i64 4
  store i64 %scalar, ptr %scalar.field
  %i1 = add i64 %i, 1
  %count.field = getelementptr i64, ptr %answer, i64 2
  store i64 %i1, ptr %count.field
  br label %next
drop:
  %forget = call ptr @fact(i64 32)
  call void %forget()
  call void @drop_results(ptr %answer)
  ret i1 0
yes:
  ret i1 1
}

define internal void @drop_results(ptr %answer) {
entry:
  %count.field = getelementptr i64, ptr %answer, i64 2
  %count = load i64, ptr %count.field
  %decref = call ptr @fact(i64 35)
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %drop ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %drop, label %out
drop:
  %at = add i64 %i, 5
  %array = call ptr @at(ptr %answer, i64 %at)
  call void %decref(ptr %array)
  %i1 = add i64 %i, 1
  br label %next
out:
  store i64 0, ptr %count.field
  ret void
}

; Put addresses and numbers where the steps of an entry read them: of each cell the word that begins a row of `stride`.
define internal void @fill(ptr %cells, i64 %count, ptr %rows, i64 %stride) {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %store ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %store, label %out
store:
  %offset = mul i64 %i, 2
  %cell = getelementptr i64, ptr %cells, i64 %offset
  %number = call i64 @word(ptr %cell, i64 0)
  %target = call ptr @at(ptr %cell, i64 1)
  %place = mul i64 %number, %stride
  %value = call i64 @word(ptr %rows, i64 %place)
  store i64 %value, ptr %target
  %i1 = add i64 %i, 1
  br label %next
out:
  ret void
}

; Run steps one after the other, each whole.
define internal void @run_steps(ptr %steps, i64 %count, ptr %log) {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %run ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %run, label %out
run:
  %offset = mul i64 %i, 3
  %step = getelementptr i64, ptr %steps, i64 %offset
  %kernel = call ptr @at(ptr %step, i64 0)
  %record = call ptr @at(ptr %step, i64 1)
  %groups = call i64 @word(ptr %step, i64 2)
  call void %kernel(ptr %record, ptr %log, i64 0, i64 %groups)
  %i1 = add i64 %i, 1
  br label %next
out:
  ret void
}

; Run steps that tell nothing, to see how long they take.
define void @loom_try(ptr %steps, i64 %count) {
  %environment = call i64 @fp_enter()
  %log = call ptr @fact(i64 40)
  call void @run_steps(ptr %steps, i64 %count, ptr %log)
  call void @fp_leave(i64 %environment)
  ret void
}

; Serve a call; false, nothing being done, if Python is to. Of a kernel that told something its sites, and a copy of the
; log (null: no memory), go to the answer, where the results are.
define internal i1 @serve(ptr %self, ptr %args, i64 %given, ptr %names, ptr %answer) {
entry:
  %open = call ptr @fact(i64 0)
  %shut = icmp eq ptr %open, null
  br i1 %shut, label %no, label %ask
ask:
  %get = call ptr @fact(i64 25)
  %name = call ptr @fact(i64 3)
  %known = call ptr %get(ptr %self, ptr %name)
  %lacking = icmp eq ptr %known, null
  br i1 %lacking, label %clear, label %look
clear:
  %forget = call ptr @fact(i64 32)
  call void %forget()
  br label %no
look:
  %table = call ptr @table_of(ptr %known)
  %none = icmp eq ptr %table, null
  br i1 %none, label %leave, label %serve
serve:
  %served = call i1 @serve_known(ptr %table, ptr %args, i64 %given, ptr %names, ptr %answer)
  br label %leave
leave:
  %result = phi i1 [ false, %look ], [ %served, %serve ]
  %decref = call ptr @fact(i64 35)
  call void %decref(ptr %known)
  ret i1 %result
no:
  ret i1 0
}

; The table that an object knows, null if it is none that does.
define internal ptr @table_of(ptr %known) {
entry:
  %place = alloca i64
  %right = call i1 @is_a(ptr %known, i64 44)
  br i1 %right, label %address, label %no
address:
  %number = call ptr @slot(ptr %known, i64 45)
  %is.address = call i1 @as_int(ptr %number, ptr %place)
  br i1 %is.address, label %yes, label %no
yes:
  %where = load i64, ptr %place
  %table = inttoptr i64 %where to ptr
  ret ptr %table
no:
  ret ptr null
}

; Do the same with a table.
define internal i1 @serve_known(ptr %table, ptr %args, i64 %given, ptr %names, ptr %answer) {
entry:
  %values = alloca [16 x ptr]
  %key = alloca [80 x i64]
  %ranges = alloca [72 x i64]
  %words = alloca [16 x i64]
  %now = call ptr @fact(i64 1)
  %made = call ptr @at(ptr %table, i64 0)
  %current = icmp eq ptr %now, %made
  br i1 %current, label %modes, label %no
modes:
  %calm = call i1 @undisturbed()
  br i1 %calm, label %variables, label %no
variables:
  %expected = call i1 @context(ptr %table)
  br i1 %expected, label %order, label %no
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
  br i1 %apart, label %told, label %no
told:
  %silence = call i1 @quiet(ptr %entry.found)
  br i1 %silence, label %results, label %no
results:
  %room = call i1 @make_results(ptr %entry.found, ptr %ranges, ptr %answer)
  br i1 %room, label %fill, label %no
fill:                                         ; nothing is left that could send the call elsewhere
  %cells = call ptr @at(ptr %entry.found, i64 4)
  %cell.count = call i64 @word(ptr %entry.found, i64 5)
  call void @fill(ptr %cells, i64 %cell.count, ptr %ranges, i64 3)
  %numbers = call ptr @at(ptr %entry.found, i64 6)
  %number.count = call i64 @word(ptr %entry.found, i64 7)
  call void @fill(ptr %numbers, i64 %number.count, ptr %words, i64 1)
  %steps = call ptr @at(ptr %entry.found, i64 2)
  %step.count = call i64 @word(ptr %entry.found, i64 3)
  %sites = call ptr @at(ptr %entry.found, i64 8)
  %silent = icmp eq ptr %sites, null
  %log.number = select i1 %silent, i64 40, i64 46
  %log = call ptr @fact(i64 %log.number)
  call void @run_steps(ptr %steps, i64 %step.count, ptr %log)
  %finish.field = getelementptr ptr, ptr %answer, i64 3
  %finish = load ptr, ptr %finish.field
  %plain = icmp eq ptr %finish, null
  br i1 %plain, label %spoken, label %hold
hold:                                         ; what runs from now on may forget the entry
  %hold.incref = call ptr @fact(i64 34)
  call void %hold.incref(ptr %finish)
  br label %spoken
spoken:
  br i1 %silent, label %served, label %listen
listen:
  %claimed = call i64 @word(ptr %log, i64 1)
  %faulty = call i64 @word(ptr %log, i64 2)
  %any = or i64 %claimed, %faulty
  %nothing = icmp eq i64 %any, 0
  br i1 %nothing, label %served, label %take
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
  %copy.field = getelementptr ptr, ptr %answer, i64 1
  store ptr %sites, ptr %answer
  store ptr %copy, ptr %copy.field
  ret i1 1
served:
  ret i1 1
no:
  ret i1 0
}

; What a call that was served returns: null after an error. What the answer holds is let go of.
define internal ptr @returned(ptr %answer, ptr %first.argument) {
entry:
  %decref = call ptr @fact(i64 35)
  %incref = call ptr @fact(i64 34)
  %call = call ptr @fact(i64 33)
  %none = call ptr @fact(i64 4)
  %count = call i64 @word(ptr %answer, i64 2)
  %finish = call ptr @at(ptr %answer, i64 3)
  %finished = icmp ne ptr %finish, null
  %first.field = getelementptr ptr, ptr %answer, i64 5
  %sites = call ptr @at(ptr %answer, i64 0)
  %silent = icmp eq ptr %sites, null
  br i1 %silent, label %results, label %tell
tell:
  %copy.found = call ptr @at(ptr %answer, i64 1)
  %no.copy = icmp eq ptr %copy.found, null
  br i1 %no.copy, label %drop, label %report
report:
  %reporter = call ptr @fact(i64 47)
  %reported = call ptr %call(ptr %reporter, ptr %answer, i64 2, ptr null)
  call void %decref(ptr %copy.found)
  br label %drop
drop:                                         ; without a copy there is an error already
  %said = phi ptr [ null, %tell ], [ %reported, %report ]
  call void %decref(ptr %sites)
  %error = icmp eq ptr %said, null
  br i1 %error, label %leave, label %heard
heard:
  call void %decref(ptr %said)
  br label %results
results:
  br i1 %finished, label %finishing, label %plain
finishing:
  %way.field = getelementptr ptr, ptr %answer, i64 4
  %way = load i64, ptr %way.field
  %behind = icmp eq i64 %way, 2
  br i1 %behind, label %argument, label %alone
argument:
  store ptr %first.argument, ptr %way.field
  %one.more = add i64 %count, 1
  %made.behind = call ptr %call(ptr %finish, ptr %way.field, i64 %one.more, ptr null)
  br label %leave
alone:
  %made.alone = call ptr %call(ptr %finish, ptr %first.field, i64 %count, ptr null)
  br label %leave
plain:
  %nothing = icmp eq i64 %count, 0
  br i1 %nothing, label %nothing.made, label %one
nothing.made:
  call void %incref(ptr %none)
  ret ptr %none
one:
  %array = call ptr @at(ptr %answer, i64 5)
  %scalar = call i64 @word(ptr %answer, i64 4)
  %whole = icmp eq i64 %scalar, 0
  br i1 %whole, label %given, label %number
given:
  ret ptr %array
number:
  %item.of = call ptr @fact(i64 49)
  %empty = call ptr @fact(i64 50)
  %item = call ptr %item.of(ptr %array, ptr %empty)
  br label %leave
leave:
  %result = phi ptr [ null, %drop ], [ %made.behind, %argument ], [ %made.alone, %alone ], [ %item, %number ]
  call void @drop_results(ptr %answer)
  br i1 %finished, label %release, label %out
release:
  call void %decref(ptr %finish)
  br label %out
out:
  ret ptr %result
}

; METH_FASTCALL | METH_KEYWORDS, in place of a function: `self` knows the table.
define ptr @loom_function(ptr %self, ptr %args, i64 %given, ptr %names) {
entry:
  %answer = alloca [16 x ptr]
  %count.field = getelementptr i64, ptr %answer, i64 2
  store ptr null, ptr %answer
  store i64 0, ptr %count.field
  %table = call ptr @table_of(ptr %self)
  %lost = icmp eq ptr %table, null
  br i1 %lost, label %never, label %gate
gate:
  %open = call ptr @fact(i64 0)
  %shut = icmp eq ptr %open, null
  br i1 %shut, label %python, label %enter
enter:
  %environment = call i64 @fp_enter()
  %served = call i1 @serve_known(ptr %table, ptr %args, i64 %given, ptr %names, ptr %answer)
  call void @fp_leave(i64 %environment)
  br i1 %served, label %return, label %python
return:
  %some = icmp ugt i64 %given, 0
  br i1 %some, label %take, label %give
take:
  %argument = load ptr, ptr %args
  br label %give
give:
  %first = phi ptr [ null, %return ], [ %argument, %take ]
  %result = call ptr @returned(ptr %answer, ptr %first)
  ret ptr %result
python:                                       ; which stays while it runs, whatever becomes of the table
  %slow = call ptr @at(ptr %table, i64 4)
  %incref = call ptr @fact(i64 34)
  %decref = call ptr @fact(i64 35)
  %vectorcall = call ptr @fact(i64 33)
  call void %incref(ptr %slow)
  %found = call ptr %vectorcall(ptr %slow, ptr %args, i64 %given, ptr %names)
  call void %decref(ptr %slow)
  ret ptr %found
never:
  %error = call ptr @fact(i64 43)
  %null = call ptr %error()
  ret ptr %null
}

; METH_FASTCALL | METH_KEYWORDS
define ptr @loom_door(ptr %self, ptr %args, i64 %given, ptr %names) {
entry:
  %few.stack = alloca [65 x ptr]
  %answer = alloca [16 x ptr]
  %count.field = getelementptr i64, ptr %answer, i64 2
  store ptr null, ptr %answer
  store i64 0, ptr %count.field
  %environment = call i64 @fp_enter()
  %served = call i1 @serve(ptr %self, ptr %args, i64 %given, ptr %names, ptr %answer)
  call void @fp_leave(i64 %environment)
  br i1 %served, label %return, label %python
return:
  %result = call ptr @returned(ptr %answer, ptr null)
  ret ptr %result
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
