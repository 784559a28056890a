# serve.pl FOLDER PORT RATE: a small web server on 127.0.0.1 that knows HEAD and GET with ranges, and sends at most RATE bytes a
# second (0: as fast as it can). It prints what it is asked, with the first byte that was wanted. Perl, since every Debian has it.
use strict;
use warnings;
use IO::Socket::INET;

my ($folder, $port, $rate) = @ARGV;
$| = 1;
$SIG{CHLD} = $SIG{PIPE} = 'IGNORE';

my $door = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 9, ReuseAddr => 1)
    or die "listening on port $port: $!";
while (1) {
    my $guest = $door->accept or next;
    my $child = fork;
    if (defined $child && $child == 0) { answer($guest); exit }
    close $guest;
}

sub answer {
    my ($guest) = @_;
    my ($method, $path) = (<$guest> // '') =~ m{^(GET|HEAD) (/\S*)} or return;
    my $first = 0;
    my $ranged = '';
    while (defined(my $line = <$guest>)) {
        last if $line =~ /^\r?\n$/;
        ($first, $ranged) = ($1, 1) if $line =~ /^range:\s*bytes=(\d+)-/i;
    }
    print "$method $path $first\n";
    my $file;
    if ($path =~ /\.\./ || !-f "$folder$path" || !open $file, '<:raw', "$folder$path") {
        print {$guest} "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return;
    }
    my $size = -s $file;
    my $rest = $size - $first;
    my $head = $ranged ? "206 Partial Content\r\nContent-Range: bytes $first-" . ($size - 1) . "/$size" : '200 OK';
    print {$guest} "HTTP/1.1 $head\r\nContent-Length: $rest\r\nETag: \"$size\"\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n";
    return if $method eq 'HEAD';
    seek $file, $first, 0;
    my $piece = $rate ? int($rate / 5) || 1 : 1 << 18;
    while (read $file, my $bytes, $piece) {
        print {$guest} $bytes or last;
        select undef, undef, undef, 0.2 if $rate;
    }
}
