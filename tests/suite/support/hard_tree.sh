# Makes a folder `hard` here, with all that a transfer is known to lose, and as many small files as the argument says.
mkdir hard
cd hard

# Hard links within a folder and across; of a symbolic link, a fifo, and of what has attributes.
mkdir -p a/b/c d/e
echo one >a/one
ln a/one a/two
ln a/one d/e/three
ln -s nowhere dangling
ln dangling a/dangling
ln -s "$(printf 'to\377bytes')" a/odd-target

dd if=/dev/urandom of=big bs=1M count=32 status=none
ln big a/b/c/big-again
truncate -s 50M sparse
printf x | dd of=sparse bs=1 seek=10000000 conv=notrunc status=none
printf y >hole
truncate -s 3M hole
: >empty

echo caps >caps
setcap cap_net_raw,cap_sys_admin+ep caps
ln caps d/caps-again
echo s >suid
chmod 6755 suid
mkdir sticky
chmod 1777 sticky
mkdir setgid
chmod 2755 setgid
setfattr -n user.note -v "$(printf 'v\001w')" a/one
setfattr -n user.long -v "$(head -c 3000 /dev/zero | tr '\0' l)" a/two
setfattr -n trusted.t -v 1 a/b
chown 1000:1000 d
chown -h 4242:17 dangling
chmod 0 big
setfacl -m u:1234:r-- a/one
setfacl -d -m g:5:rwx d

echo fixed >fixed
echo grows >grows
mkdir frozen
echo in >frozen/in
mkfifo fifo
ln fifo a/fifo-again
mknod null c 1 3
mknod disk b 7 99
python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('socket')"

echo nl >"$(printf 'new\nline')"
echo bad >"$(printf 'bad\377\376name')"
echo q >"it's \"so\""
echo cr >"$(printf 'tab\tand\rreturn ')"
echo dash >./-rf
echo star >'*'
echo long >"$(head -c 255 /dev/zero | tr '\0' n)"

# Long, and nearly as deep as the 1,024 folders that rsync goes.
path=deep
for i in $(seq 40); do path=$path/a-rather-long-folder-name; done
for i in $(seq 900); do path=$path/d; done
mkdir -p "$path"
echo end >"$path/end"

python3 - "$1" <<'PYTHON'
import os
import sys

os.mkdir("many")
for number in range(int(sys.argv[1])):
    if number % 100 == 0:
        os.mkdir(f"many/{number // 100}")
    with open(f"many/{number // 100}/f{number}", "w") as file:
        file.write(f"{number} some words")
PYTHON

touch -d '1959-03-04 05:06:07.123456789' old
touch -d '1969-12-31 23:59:59.999999999' just-before
touch -d '2101-01-01 00:00:00.5' future
touch -d '2240-01-01 00:00:00.25' far-future
touch -h -d '1999-01-01' dangling
touch -d '2001-01-01' a
# These go last: they forbid every further change.
chattr +i fixed frozen
chattr +a grows
chattr +d hole
